"""What a worker says while it works: one line for each run and phase.

The worker tells facts; whether they become a line for people or JSON is the listener's affair.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from deployctl.core.json_values import Json

PRINTED = "job.printed"
"""The event of a line that a job printed; its fact `job` says which."""


class Level(StrEnum):
    """How much a line matters."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class EventLog(Protocol):
    """A listener; may be called from any thread and must return at once."""

    def emit(self, level: Level, event: str, message: str, **facts: Json) -> None:
        """Something happened. `event`: a stable name (`run.claimed`); `message`: a sentence for
        people; `facts`: run, name, …"""
