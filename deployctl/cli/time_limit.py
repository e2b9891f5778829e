"""The time limit of a command, `--timeout`: a clean stop as after Ctrl-C, then a forced one.

SIGALRM is what a thread sends to the main thread at the end of the time. Where signals stop the
command gracefully (`cli.signals`), its handler does so, too; anywhere else it raises `TimeExpired`,
as Ctrl-C raises KeyboardInterrupt. A main thread that has not ended after `GRACE`, because it is
inside a request that is never answered, no longer counts: the process exits.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self

from deployctl.cli.signals import kill_programs, request_stop

GRACE = 10.0
"""Seconds for the clean stop. Programs of steps have half of it (`clients.process`)."""
_MAX_REPORT = 1.0
"""Seconds for the report of a forced exit."""


class TimeExpired(BaseException):
    """Raised in the main thread at the end of the time; no `except Exception` catches it."""


class TimeLimit:
    """Limits the time of a `with` block of the main thread."""

    def __init__(
        self,
        seconds: float,
        report: Callable[[], None],
        exit_code: int,
        *,
        grace: float = GRACE,
        exit_process: Callable[[int], object] = os._exit,
    ) -> None:
        """`report` is called in another thread before a forced exit with `exit_code`."""
        self.is_expired = False
        self._seconds = seconds
        self._grace = grace
        self._report = report
        self._exit_code = exit_code
        self._exit_process = exit_process
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="time-limit", daemon=True)

    def __enter__(self) -> Self:
        self._previous = signal.signal(signal.SIGALRM, self._expire)
        try:
            self._thread.start()
        except BaseException:  # The time may pass before the block begins.
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        with self._lock:  # The thread is not about to send a signal.
            signal.signal(signal.SIGALRM, signal.SIG_IGN)  # Discards one that was not handled yet.
            signal.signal(signal.SIGALRM, self._previous)

    def _expire(self, number: int, _frame: FrameType | None) -> None:
        if not self._ended.is_set() and not request_stop(number):
            raise TimeExpired

    def _watch(self) -> None:
        if self._ended.wait(self._seconds):
            return
        with self._lock:
            if self._ended.is_set():
                return
            self.is_expired = True
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGALRM)
        if not self._ended.wait(self._grace):
            reporter = threading.Thread(target=self._report, daemon=True)
            reporter.start()
            reporter.join(_MAX_REPORT)  # The output may be blocked, too.
            kill_programs()
            self._exit_process(self._exit_code)
