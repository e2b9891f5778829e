"""How much less patience a worker of the tests has: what takes a minute takes a second."""

from __future__ import annotations

from dataclasses import dataclass

from deployctl.worker.health.health_state import FROZEN_AFTER


@dataclass(frozen=True)
class FastTimings:
    """Graces in seconds. A test in which one must not run out, however slow the machine is, makes
    it longer."""

    ahead: float = 0.0
    """By how much the process takes the time to be later than it is, as where a clock is wrong."""
    frozen_after: float = FROZEN_AFTER
    """Without a sign of life of a loop, after which it counts as frozen: the worker's own."""
    cancel_grace: float = 3.0
    """For a running job that is to cancel itself."""
    lease: float = 3.0
    """Without a renewal, after which another replica leads."""
    silence: float = 5.0
    """Without a word, after which a watch is opened anew."""
    patience: float = 5.0
    """For what is under way when the worker is asked to end."""
