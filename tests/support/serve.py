"""Runs the Prefect server of the interpreter that runs this file: `python serve.py HOST PORT BUSY`.

It replaces `prefect server start`, which loads the whole command line first and runs the server in
another process.

BUSY is for how many seconds a write waits for others on SQLite. With Prefect's own 60, a write that
blocks itself keeps everybody waiting for a minute; a crowd that is to get ahead wants less.
"""

from __future__ import annotations

import sys
from typing import Any


def wait_for_others(seconds: float) -> None:
    """Sets how long any connection to the database waits."""
    from sqlalchemy import event  # type: ignore[import-not-found,unused-ignore]
    from sqlalchemy.pool import Pool  # type: ignore[import-not-found,unused-ignore]

    def set_up(connection: Any, record: Any, _: object) -> None:
        if "waits" not in record.info:  # of this connection, which is used again and again
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
            cursor.close()
            record.info["waits"] = seconds

    event.listen(Pool, "checkout", set_up)


if __name__ == "__main__":
    wait_for_others(float(sys.argv[3]))
    import uvicorn  # type: ignore[import-not-found,unused-ignore]

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host=sys.argv[1],
        port=int(sys.argv[2]),
        log_level="warning",
    )
