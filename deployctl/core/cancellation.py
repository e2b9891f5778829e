"""Cooperative cancellation: a flag set by a signal handler and polled by every unit of work."""

from __future__ import annotations

import signal
import threading

from deployctl.core.errors import Interrupted


class CancellationToken:
    """A cancellation flag shared by threads, with an interruptible sleep."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._signal: int = signal.SIGINT
        self.process_groups: set[int] = set()
        """Process groups of running child programs, which an immediate exit must kill."""

    def cancel(self, number: int = signal.SIGINT) -> None:
        """Requests cancellation. `number` is the signal that determines the exit code."""
        self._signal = number
        self._event.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether cancellation was requested."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleeps until `seconds` have passed or the token is cancelled; returns `is_cancelled`."""
        return self._event.wait(seconds)

    def interrupted(self, message: str = "stopped on request") -> Interrupted:
        """Returns the error to raise for work that ends before it is complete."""
        return Interrupted(message, signal=self._signal)

    def raise_if_cancelled(self) -> None:
        """Raises Interrupted if cancellation was requested."""
        if self.is_cancelled:
            raise self.interrupted()
