"""Run the Prefect server of the interpreter that executes this file.

    python serve.py '{"host": "127.0.0.1", "port": 4200, "busy": 2.0, "tuned": true}'

Replaces `prefect server start`, which imports the whole command line first and then runs the server
in a second process. The options are those of `Server` in `servers.py`.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import sys
import zoneinfo
from typing import Any

APP = "prefect.server.api.server"


def set_busy_timeout(seconds: float) -> None:
    """Set how long a write waits for the SQLite lock.

    With Prefect's own 60 s, a write that blocks itself stops all others for a minute.
    """
    from sqlalchemy import event  # type: ignore[import-not-found,unused-ignore]
    from sqlalchemy.pool import Pool  # type: ignore[import-not-found,unused-ignore]

    def configure(connection: Any, record: Any, _: object) -> None:
        if "busy_timeout" not in record.info:  # checked out many times
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
            cursor.close()
            record.info["busy_timeout"] = seconds

    event.listen(Pool, "checkout", configure)


def reduce_cpu() -> None:
    """Make the server cheaper without changing what it answers.

    Up to 3.8, Prefect lists all time zones of the machine's file system whenever it validates a
    cron schedule: two thirds of the CPU time of a request that returns deployments. The list is
    cached here, as 3.9 does itself. The garbage collector scans the imported modules once instead
    of again and again: a tenth of a request, and half a second of the start.
    """
    zoneinfo.available_timezones = functools.cache(zoneinfo.available_timezones)
    gc.disable()
    importlib.import_module(APP)
    gc.enable()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def main(host: str, port: int, busy: float, *, tuned: bool) -> None:
    """Serve until killed."""
    if os.environ.get("PREFECT_API_DATABASE_CONNECTION_URL", "").startswith("sqlite"):
        set_busy_timeout(busy)
    if tuned:
        reduce_cpu()
    import uvicorn  # type: ignore[import-not-found,unused-ignore]

    uvicorn.run(f"{APP}:create_app", factory=True, host=host, port=port, log_level="warning")


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
