"""Every command reports output that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
EXAMPLE = Path(__file__).parents[3] / "examples" / "etl"
MAIN = "from deployctl.cli.main import main; main()"


def run_with_full_stdout(*command: str, unbuffered: bool) -> tuple[int, str]:
    """The exit code and stderr of a command whose stdout is a full disk."""
    environ = {**os.environ, "PYTHONUNBUFFERED": "1" if unbuffered else ""}
    with FULL.open("w") as full:
        result = subprocess.run(
            [sys.executable, "-c", MAIN, *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=EXAMPLE,
            env=environ,
            check=False,
        )
    return result.returncode, result.stderr


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", [True, False], ids=["unbuffered", "buffered"])
@pytest.mark.parametrize(
    "command",
    ["--version", "--help", "schema", "explain DC123", "validate", "validate --output json"],
)
def test_reports_full_disk(command: str, unbuffered: bool) -> None:
    assert run_with_full_stdout(*command.split(), unbuffered=unbuffered) == (
        1,
        "cannot write the output: No space left on device\n",
    )
