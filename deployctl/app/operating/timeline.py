"""Puts the states and logs of a run that is followed into the order of time.

A state is on the server at once, and a log up to two seconds later, because programs send logs in
batches. So an entry is held back until nothing earlier can follow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from deployctl.core.json_values import Json

_LATENESS = timedelta(seconds=3)
"""How much later than a newer entry an older one may arrive."""


@dataclass(frozen=True, slots=True)
class _Entry:
    time: datetime
    poll: int
    """Number of the poll that found it."""
    is_log: bool
    item: Json


@dataclass(slots=True)
class Timeline:
    """Entries that are held back."""

    max_polls: int
    """Polls after which an entry is released, whatever its time."""
    _entries: list[_Entry] = field(default_factory=list)
    _poll: int = 0

    def add(self, logs: tuple[Json, ...], states: tuple[Json, ...]) -> None:
        """Adds what one poll found; it must be called for each poll."""
        self._poll += 1
        for is_log, items in ((True, logs), (False, states)):
            self._entries += (
                _Entry(datetime.fromisoformat(item["timestamp"]), self._poll, is_log, item)
                for item in items
            )
        self._entries.sort(key=lambda entry: (entry.time, entry.is_log))

    def release(
        self, *, everything: bool, is_final: bool
    ) -> tuple[tuple[Json, ...], tuple[Json, ...]]:
        """Removes and returns the logs and states that nothing earlier can follow.

        The last state of a final run, and what follows it, stays until `everything` is released.
        """
        count = len(self._entries) if everything else self._due()
        if is_final and not everything:
            states = [at for at, entry in enumerate(self._entries) if not entry.is_log]
            count = min([count, *states[-1:]])
        released, self._entries = self._entries[:count], self._entries[count:]
        logs = tuple(entry.item for entry in released if entry.is_log)
        return logs, tuple(entry.item for entry in released if not entry.is_log)

    def _due(self) -> int:
        """The number of entries that are old enough, and of those before them."""
        if not self._entries:
            return 0
        newest = self._entries[-1].time
        due = [
            at + 1
            for at, entry in enumerate(self._entries)
            if entry.time <= newest - _LATENESS or entry.poll <= self._poll - self.max_polls
        ]
        return max(due, default=0)
