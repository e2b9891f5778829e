"""How many requests may be under way at once: found out by asking, not by configuration.

A Prefect server on PostgreSQL may like sixteen at once. On SQLite writes go one by one, and two at
once can stop the whole server for a minute: the one that waits for the database holds a lock of its
connection, and as soon as Python's garbage collector meets a forgotten cursor of that connection,
it waits too, in the thread that should go on with the other write (seen on 3.8.8). So a wider gate
has to pay: it is tried for a few answers, and kept where the server then answers clearly more per
second. What did not pay, or was refused, is tried ever more seldom.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_GAIN = 1.3
"""How much more a gate twice as wide must let the server answer."""
_TRIAL = 8
"""Answers for which a wider gate is tried."""
_FIRST_PATIENCE, _LAST_PATIENCE = 6, 1024
"""Answers in a row, all while others wait, until a wider gate is tried."""
_LOOK_SECONDS = 10.0
"""Between two signs of life of a thread that waits for room."""


class ConcurrencyLimiter:
    """Lets as many threads through at once as the server seems to bear."""

    def __init__(self, start: int, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Opens `start` wide, and never wider than `most`; `clock` gives seconds."""
        self._most = max(1, most)
        self._limit = max(1, min(start, most))
        self._clock = clock
        self._patience = _FIRST_PATIENCE
        self._before: tuple[int, float] | None = None
        """While a wider gate is tried: how wide it was, and its answers per second."""
        self._answers = 0
        self._since = clock()
        self._waiting = 0
        self._under_way = 0
        self._round = 0
        self._free = threading.Condition()

    @property
    def limit(self) -> int:
        """How many may be under way at the moment."""
        return self._limit

    @contextmanager
    def passing(self, alive: Callable[[], object] = bool) -> Iterator[int]:
        """Waits for room, and holds it. Gives the round that `refused` asks for.

        `alive`: is called now and then while it waits.
        """
        with self._free:
            self._waiting += 1
            try:
                while not self._free.wait_for(self._has_room, _LOOK_SECONDS):
                    alive()
            finally:
                self._waiting -= 1
            self._under_way += 1
            mine = self._round
        try:
            yield mine
        finally:
            with self._free:
                self._under_way -= 1
                self._free.notify()

    def served(self) -> None:
        """Takes note of an answer that was no refusal. Where nobody waits, it says nothing."""
        with self._free:
            if not self._waiting:
                self._count_anew()
                return
            self._answers += 1
            if self._answers >= (_TRIAL if self._before else self._patience):
                self._compare(self._answers / max(1e-6, self._clock() - self._since))
                self._count_anew()

    def refused(self, mine: int) -> bool:
        """Takes note that the server declined a request of round `mine`, and halves.

        Requests that were under way together are refused together; that counts as one refusal.
        Gives whether others of ours may be to blame: False for a request that was alone.
        """
        with self._free:
            self._count_anew()
            if mine < self._round:
                return True
            if self._limit == 1:
                return False
            self._round += 1
            self._narrow(self._limit // 2)
            return True

    def _has_room(self) -> bool:
        return self._under_way < self._limit

    def _compare(self, rate: float) -> None:
        if self._before and rate < _GAIN * self._before[1]:
            self._narrow(self._before[0])
        elif self._limit < self._most:
            self._before = (self._limit, rate)
            self._limit = min(self._most, 2 * self._limit)
            self._free.notify_all()
        else:
            self._before = None

    def _narrow(self, limit: int) -> None:
        self._limit = limit
        self._before = None
        self._patience = min(_LAST_PATIENCE, 2 * self._patience)

    def _count_anew(self) -> None:
        self._answers = 0
        self._since = self._clock()
