"""Short timings for workers of tests: what takes a minute in production takes a second."""

from __future__ import annotations

from dataclasses import replace

from deployctl.worker.timings import Timings

FAST = Timings(
    start_timeout=2.0,
    orphaned_after=1.0,
    vanished_after=2.0,
    cancel_grace=3.0,
    deletion_grace=2.0,
    report_grace=1.0,
    retry_max=2.0,
    shutdown_grace=5.0,
    lease_duration=3.0,
    watch_idle_timeout=5.0,
    watch_retry_max=1.0,
    forbidden_grace=3.0,
)


def fast_timings(**changes: float) -> Timings:
    """Return FAST with changes. A timeout that must not expire in a test, however slow the machine
    is, should be longer than there."""
    return replace(FAST, **changes)
