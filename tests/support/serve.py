"""Runs the Prefect server of the interpreter that runs this file: `python serve.py HOST PORT`.

It replaces `prefect server start`, which loads the whole command line first and runs the server in
another process. Standard input is a leash: the server ends as soon as whoever holds the other end
is gone, however that happened, so that no test run leaves servers behind.
"""

from __future__ import annotations

import os
import sys
import threading


def end_with_parent() -> None:
    """Ends this process when standard input is closed."""
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    import uvicorn  # type: ignore[import-not-found,unused-ignore]

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host=sys.argv[1],
        port=int(sys.argv[2]),
        log_level="warning",
    )
