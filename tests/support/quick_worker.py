"""The program `deployctl` with short timings and, optionally, a wrong clock.

    python -m tests.support.quick_worker '{"timings": {"cancel_grace": 3}}' worker --pool pool

Timings are no settings of deployctl, because no user should have to choose them, so a test process
injects them here.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial

from deployctl.app.worker import startup
from deployctl.cli.main import main
from deployctl.worker.timings import Timings


def offset_clock(seconds: float) -> None:
    """Make the clock of this process wrong by so many seconds."""
    correct = time.time
    time.time = lambda: correct() + seconds


if __name__ == "__main__":
    arguments = json.loads(sys.argv.pop(1))
    offset_clock(arguments.get("clock_offset", 0.0))
    timings = Timings(**arguments["timings"])
    vars(startup).update(run_worker=partial(startup.run_worker, timings=timings))
    main()
