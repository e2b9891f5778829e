"""Adaptive limit of concurrent requests, found by measuring instead of configuring.

A Prefect server on PostgreSQL handles sixteen requests at once. On SQLite writes are serialised,
and two at once can block the whole server for a minute: the request that waits for the database
holds a lock of its connection, and when Python's garbage collector finalises a cursor of that
connection, it waits for the lock too, in the thread that should complete the other write (seen on
3.8.8).

So a higher limit must pay off: the limit is doubled for a few responses, and kept only if the
server then completes clearly more requests per second. After each trial that failed, and after each
refusal, the next trial starts later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_MIN_GAIN = 1.3
"""Factor of throughput that a doubled limit must reach to be kept."""
_TRIAL_RESPONSES = 8
"""Responses for which a higher limit is tried."""
_FIRST_TRIAL_AFTER, _LAST_TRIAL_AFTER = 6, 1024
"""Responses in a row, all with other threads waiting, before a higher limit is tried."""
_WAKE_INTERVAL = 10.0
"""Seconds between calls of `on_wait` while a thread waits for a slot."""


class ConcurrencyLimiter:
    """Limits concurrent requests to what the server handles well. Thread-safe."""

    def __init__(
        self, start: int, maximum: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Starts with a limit of `start`, never exceeds `maximum`; `clock` returns seconds."""
        self._maximum = max(1, maximum)
        self._limit = max(1, min(start, maximum))
        self._clock = clock
        self._trial_after = _FIRST_TRIAL_AFTER
        self._baseline: tuple[int, float] | None = None
        """During a trial: the limit before it, and the responses per second with that limit."""
        self._responses = 0
        self._since = clock()
        self._waiting = 0
        self._running = 0
        self._generation = 0
        """Incremented whenever a refusal lowers the limit."""
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        """The current limit."""
        return self._limit

    @contextmanager
    def slot(self, on_wait: Callable[[], object] = bool) -> Iterator[int]:
        """Waits for a free slot and holds it; yields the generation that `record_refusal` takes.

        `on_wait` is called every ten seconds while waiting.
        """
        with self._changed:
            self._waiting += 1
            try:
                while not self._changed.wait_for(self._has_free_slot, _WAKE_INTERVAL):
                    on_wait()
            finally:
                self._waiting -= 1
            self._running += 1
            generation = self._generation
        try:
            yield generation
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify()

    def record_success(self) -> None:
        """Records a response that was no refusal; it counts only while other threads wait."""
        with self._changed:
            if not self._waiting:
                self._reset_count()
                return
            self._responses += 1
            if self._responses >= (_TRIAL_RESPONSES if self._baseline else self._trial_after):
                self._evaluate(self._responses / max(1e-6, self._clock() - self._since))
                self._reset_count()

    def record_refusal(self, generation: int) -> bool:
        """Records that the server refused a request of `generation`, and halves the limit.

        Requests that ran concurrently are refused together, which counts as one refusal. Returns
        whether our own concurrency may be the cause: False for a request that ran alone.
        """
        with self._changed:
            self._reset_count()
            if generation < self._generation:
                return True
            if self._limit == 1:
                return False
            self._generation += 1
            self._lower(self._limit // 2)
            return True

    def _has_free_slot(self) -> bool:
        return self._running < self._limit

    def _evaluate(self, rate: float) -> None:
        """Ends a trial that did not pay off, or starts the next one."""
        if self._baseline and rate < _MIN_GAIN * self._baseline[1]:
            self._lower(self._baseline[0])
        elif self._limit < self._maximum:
            self._baseline = (self._limit, rate)
            self._limit = min(self._maximum, 2 * self._limit)
            self._changed.notify_all()
        else:
            self._baseline = None

    def _lower(self, limit: int) -> None:
        self._limit = limit
        self._baseline = None
        self._trial_after = min(_LAST_TRIAL_AFTER, 2 * self._trial_after)

    def _reset_count(self) -> None:
        self._responses = 0
        self._since = self._clock()
