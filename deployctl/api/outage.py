"""The retry budget of a server: all requests of a session share it while the server is down.

Without it, each of a thousand requests would wait half a minute for a server that is gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

_MIN_GIVEN_UP = 3
"""Requests in a row that must have been given up: a single one may fail for its own reasons."""


class Outage:
    """The time since the server last answered. Thread-safe."""

    def __init__(self, budget: float, clock: Callable[[], float]) -> None:
        """`budget` is in seconds from the first failure; `clock` returns seconds."""
        self.budget = budget
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._answered: float | None = None
        self._given_up = 0
        self._next_report = 0.0

    def record_answer(self) -> None:
        """The server works: the outage, if there was one, is over."""
        with self._lock:
            self._since, self._given_up, self._next_report = None, 0, 0.0
            self._answered = self._clock()

    def record_failure(self, began: float) -> None:
        """No answer, or one that says that the server does not work.

        `began`: when the request was sent. A server that accepts requests and answers none has been
        down for as long as they have waited, if it answered no other one meanwhile.
        """
        with self._lock:
            if self._since is None:
                self._since = began if self._answered is None else max(began, self._answered)

    def record_given_up(self) -> None:
        """A request is not tried again."""
        with self._lock:
            self._given_up += 1

    def allows(self, wait: float) -> bool:
        """Whether a request may wait this long for its next attempt."""
        with self._lock:
            return self._since is None or self._clock() + wait <= self._since + self.budget

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
        with self._lock:
            if self._since is None or self._given_up < _MIN_GIVEN_UP:
                return False
            return self._clock() - self._since >= self.budget / 2
