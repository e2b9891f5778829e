"""How many requests may be under way at once: found out by asking, not by configuration.

A Prefect server on PostgreSQL likes sixteen at once; on SQLite it answers 503, or says nothing for
a minute, as soon as two writes meet. So the gate opens one step with every answer until the first
refusal, halves, and from then on opens ever more slowly: looking for more room costs a refused
request each time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_FIRST_PATIENCE = 16
_LAST_PATIENCE = 1024


class Gate:
    """Lets as many threads through at once as the server seems to bear."""

    def __init__(self, start: int, most: int) -> None:
        """Opens `start` wide, and never wider than `most`."""
        self._most = max(1, most)
        self._limit = max(1, min(start, most))
        self._patience = 1
        """Answers in a row that open the gate by one."""
        self._good = 0
        self._under_way = 0
        self._round = 0
        self._free = threading.Condition()

    @property
    def limit(self) -> int:
        """How many may be under way at the moment."""
        return self._limit

    @contextmanager
    def passing(self) -> Iterator[int]:
        """Waits for room, and holds it. Gives the round that `refused` asks for."""
        with self._free:
            self._free.wait_for(lambda: self._under_way < self._limit)
            self._under_way += 1
            mine = self._round
        try:
            yield mine
        finally:
            with self._free:
                self._under_way -= 1
                self._free.notify()

    def served(self) -> None:
        """Takes note of an answer that was no refusal."""
        with self._free:
            self._good += 1
            if self._good >= self._patience and self._limit < self._most:
                self._good = 0
                self._limit += 1
                self._free.notify()

    def refused(self, mine: int) -> bool:
        """Takes note that the server declined a request of round `mine`, and halves.

        Requests that were under way together are refused together; that counts as one refusal.
        Gives whether others of ours may be to blame: False for a request that was alone.
        """
        with self._free:
            self._good = 0
            if mine < self._round:
                return True
            if self._limit == 1:
                return False
            self._limit //= 2
            self._round += 1
            self._patience = min(_LAST_PATIENCE, max(_FIRST_PATIENCE, self._patience * 2))
            return True
