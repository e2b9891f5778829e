"""The program `deployctl` with a worker that has less patience: what takes a minute takes a second.

    python -m tests.support.quick_worker worker --pool pool

Graces are constants of the worker, not settings, because nobody should have to choose them; only a
test is in a hurry.
"""

from __future__ import annotations

from functools import partial

from deployctl.cli.main import main
from deployctl.worker import decide, hands, outcomes
from deployctl.worker.runtimes.kubernetes import runtime, watching
from deployctl.worker.runtimes.kubernetes.lease import LeaseLeadership

SILENCE = 5.0
"""Seconds without a word after which a watch is opened anew."""
LEASE = 3.0
"""Seconds without a renewal after which another replica leads."""


def hurry() -> None:
    """Shortens the graces of this process."""
    decide.ORPHANED_AFTER = 1.0
    decide.VANISHED_AFTER = 2.0
    decide.CANCEL_GRACE = 3.0
    outcomes.SILENT_AFTER = 1.0
    hands.LONGEST_WAIT = 2.0
    watching.LONGEST_WAIT = 1.0
    vars(runtime).update(
        LeaseLeadership=partial(LeaseLeadership, duration=LEASE),
        KubernetesRuntime=partial(runtime.KubernetesRuntime, silence=SILENCE),
    )


if __name__ == "__main__":
    hurry()
    main()
