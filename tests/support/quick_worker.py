"""The program `deployctl` with a worker that has less patience, as `Hurry` says in JSON.

    python -m tests.support.quick_worker '{"lease": 3}' worker --pool pool

Graces are constants of the worker, not settings, because nobody should have to choose them; only a
test is in a hurry.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial

from deployctl.cli.main import main
from deployctl.jobs import job_spec
from deployctl.worker import service
from deployctl.worker.control import decide, executor, outcomes
from deployctl.worker.health import health_state, http_server
from deployctl.worker.runtimes.kubernetes import runtime
from deployctl.worker.timings import Timings
from tests.support.fast_timings import FastTimings


def shorten(graces: FastTimings) -> None:
    """Shortens the graces of this process."""
    job_spec.DEFAULT_START_TIMEOUT = 2.0
    decide.ORPHANED_AFTER = 1.0
    decide.VANISHED_AFTER = 2.0
    decide.CANCEL_GRACE = graces.cancel_grace
    outcomes.SILENT_AFTER = 1.0
    executor.LONGEST_WAIT = 2.0
    service.SHUTDOWN_GRACE = graces.patience
    vars(http_server).update(
        liveness_failure=partial(health_state.liveness_failure, patience=graces.frozen_after)
    )
    vars(runtime).update(
        KubernetesRuntime=partial(
            runtime.KubernetesRuntime,
            timings=Timings(
                watch_idle_timeout=graces.silence, watch_retry_max=1.0, lease_duration=graces.lease
            ),
        ),
    )


def set_clock(ahead: float) -> None:
    """Makes the clock of this process wrong by so many seconds."""
    right = time.time
    time.time = lambda: right() + ahead


if __name__ == "__main__":
    hurry = FastTimings(**json.loads(sys.argv.pop(1)))
    set_clock(hurry.ahead)
    shorten(hurry)
    main()
