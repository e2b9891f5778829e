"""An environment for child processes that knows nothing of the machine's own settings."""

from __future__ import annotations

import os
from pathlib import Path

KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "TZ")


def isolated(home: Path, **extra: str) -> dict[str, str]:
    """Makes `home` and gives the variables for a program whose home, and Prefect's, it is."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "PREFECT_HOME": str(home / ".prefect"),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        **extra,
    }
