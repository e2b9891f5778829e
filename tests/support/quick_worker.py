"""The program `deployctl` with a worker that has less patience: what takes a minute takes a second.

    python -m tests.support.quick_worker 0 300 worker --pool pool

Graces are constants of the worker, not settings, because nobody should have to choose them; only a
test is in a hurry. The first number says by how many seconds this process takes the time to be
later than it is, as on a machine whose clock is wrong; the second, after how many seconds a loop
without a sign of life is frozen.
"""

from __future__ import annotations

import sys
import time
from functools import partial

from deployctl.cli.main import main
from deployctl.jobs import describing
from deployctl.worker import decide, hands, health, outcomes, service, vitals
from deployctl.worker.runtimes.kubernetes import runtime, watching
from deployctl.worker.runtimes.kubernetes.lease import LeaseLeadership

SILENCE = 5.0
"""Seconds without a word after which a watch is opened anew."""
LEASE = 3.0
"""Seconds without a renewal after which another replica leads."""


def hurry(frozen_after: float) -> None:
    """Shortens the graces of this process."""
    describing.START_WITHIN = 2.0
    decide.ORPHANED_AFTER = 1.0
    decide.VANISHED_AFTER = 2.0
    decide.CANCEL_GRACE = 3.0
    outcomes.SILENT_AFTER = 1.0
    hands.LONGEST_WAIT = 2.0
    watching.LONGEST_WAIT = 1.0
    service.PATIENCE = 5.0
    vars(health).update(illness=partial(vitals.illness, patience=frozen_after))
    vars(runtime).update(
        LeaseLeadership=partial(LeaseLeadership, duration=LEASE),
        KubernetesRuntime=partial(runtime.KubernetesRuntime, silence=SILENCE),
    )


def set_clock(ahead: float) -> None:
    """Makes the clock of this process wrong by so many seconds."""
    right = time.time
    time.time = lambda: right() + ahead


if __name__ == "__main__":
    set_clock(float(sys.argv.pop(1)))
    hurry(float(sys.argv.pop(1)))
    main()
