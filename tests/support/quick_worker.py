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
from deployctl.jobs import describing
from deployctl.worker import decide, hands, health, outcomes, service, vitals
from deployctl.worker.runtimes.kubernetes import runtime, watching
from deployctl.worker.runtimes.kubernetes.lease import LeaseLeadership
from tests.support.hurry import Hurry


def shorten(graces: Hurry) -> None:
    """Shortens the graces of this process."""
    describing.START_WITHIN = 2.0
    decide.ORPHANED_AFTER = 1.0
    decide.VANISHED_AFTER = 2.0
    decide.CANCEL_GRACE = graces.cancel_grace
    outcomes.SILENT_AFTER = 1.0
    hands.LONGEST_WAIT = 2.0
    watching.LONGEST_WAIT = 1.0
    service.PATIENCE = graces.patience
    vars(health).update(illness=partial(vitals.illness, patience=graces.frozen_after))
    vars(runtime).update(
        LeaseLeadership=partial(LeaseLeadership, duration=graces.lease),
        KubernetesRuntime=partial(runtime.KubernetesRuntime, silence=graces.silence),
    )


def set_clock(ahead: float) -> None:
    """Makes the clock of this process wrong by so many seconds."""
    right = time.time
    time.time = lambda: right() + ahead


if __name__ == "__main__":
    hurry = Hurry(**json.loads(sys.argv.pop(1)))
    set_clock(hurry.ahead)
    shorten(hurry)
    main()
