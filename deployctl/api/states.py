"""The types of state of a flow run, as the Prefect API writes them.

A state also has a name (`Late`, `AwaitingRetry`), which is more specific than its type.
"""

from __future__ import annotations

from typing import Final

SCHEDULED: Final = "SCHEDULED"
PENDING: Final = "PENDING"
RUNNING: Final = "RUNNING"
CANCELLING: Final = "CANCELLING"
PAUSED: Final = "PAUSED"
COMPLETED: Final = "COMPLETED"
FAILED: Final = "FAILED"
CRASHED: Final = "CRASHED"
CANCELLED: Final = "CANCELLED"

FINAL: Final = (COMPLETED, FAILED, CRASHED, CANCELLED)
"""Terminal: no further state follows by itself."""
ACTIVE: Final = (PENDING, RUNNING, CANCELLING)
"""Claimed and not ended: the run should have a job, or had one a moment ago."""
STARTED: Final = (*ACTIVE, PAUSED, *FINAL)
"""All but SCHEDULED: the run's time has come."""
