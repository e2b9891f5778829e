"""The retry budget of a server: all requests of a session share it while the server is down.

Without it, each of a thousand requests would wait half a minute for a server that is gone, or one
timeout after the other for a server that accepts requests and answers none.

An outage begins with the first failure and ends with the next answer to any request. While it
lasts, no attempt waits beyond the budget. The first request that would is given up, and the server
is taken for dead: further requests fail at once, but for one a second that finds out whether the
server is back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

_LAST_ATTEMPT = 5.0
"""Seconds that an attempt has at least, also after a timeout that is longer than the budget."""
_PROBE_INTERVAL = 1.0
"""Seconds between two requests to a server that is taken for dead."""


class Outage:
    """The time since the server last answered. Thread-safe."""

    def __init__(self, budget: float, clock: Callable[[], float]) -> None:
        """`budget` is in seconds from the first failure; `clock` returns seconds."""
        self._budget = max(budget, _LAST_ATTEMPT)
        self._clock = clock
        self._lock = threading.Lock()
        self._end: float | None = None
        """When the budget is used up; None while there is no outage."""
        self._answered = self._failed = clock()
        self._reason = ""
        self._is_down = False
        self._next_probe = self._next_report = 0.0

    def record_answer(self) -> None:
        """The server works: the outage, if there was one, is over."""
        with self._lock:
            self._end, self._is_down, self._next_report = None, False, 0.0
            self._answered = self._clock()

    def record_failure(self, began: float, reason: str) -> None:
        """No answer, or one that says that the server does not work.

        `began`: when the request was sent. A server that accepts requests and answers none has been
        down for as long as they have waited, if it answered no other one meanwhile. A failure long
        after the last one is the first of another outage.
        """
        with self._lock:
            now = self._clock()
            if self._end is None or began - self._failed > self._budget:
                since = max(began, self._answered)
                self._end = max(since + self._budget, now + _LAST_ATTEMPT)
                self._is_down = False
            self._failed, self._reason = now, reason
            self._next_probe = now + _PROBE_INTERVAL

    def record_silence(self, reason: str) -> None:
        """The server is taken for dead, because the command no longer waits for its answers."""
        self.record_failure(self._clock(), reason)
        with self._lock:
            self._is_down = True

    def refusal(self) -> str:
        """Why a request is not sent, because the server is taken for dead; empty: send it."""
        with self._lock:
            now = self._clock()
            if not self._is_down:
                return ""
            if now < self._next_probe:
                return self._reason
            self._next_probe = now + _PROBE_INTERVAL
            return ""

    def timeout(self) -> float | None:
        """Seconds that an attempt may wait for its answer; None for no limit of the outage."""
        with self._lock:
            if self._end is None or self._is_down:
                return None
            return max(_LAST_ATTEMPT, self._end - self._clock())

    def allows(self, wait: float | None) -> bool:
        """Whether a request may wait this long for its next attempt.

        If not, the server is taken for dead. None: the request has used up its attempts.
        """
        with self._lock:
            if self._end is not None and self._clock() + (wait or 0.0) > self._end:
                self._is_down = True
            return wait is not None and not self._is_down

    def may_report(self, wait: float) -> bool:
        """Whether to report this wait: not if another request waits as long at the same time."""
        with self._lock:
            due = self._clock() >= self._next_report
            if due:
                self._next_report = self._clock() + wait
            return due

    @property
    def is_down(self) -> bool:
        """Whether the server is taken for dead, so that no further work should be started."""
        return self._is_down
