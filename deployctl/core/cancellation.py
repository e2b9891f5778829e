"""The wish to end: set once by a signal, read wherever a piece of work begins or waits."""

from __future__ import annotations

import signal
import threading

from deployctl.core.errors import Interrupted


class CancellationToken:
    """A flag that threads share. Until it is set, `wait` is a sleep."""

    def __init__(self) -> None:
        self._flag = threading.Event()
        self._signal: int = signal.SIGINT
        self.process_groups: set[int] = set()
        """Of processes that run now, and do not outlive an end at once."""

    def cancel(self, number: int = signal.SIGINT) -> None:
        """Asks everybody to end; `number` is the signal that decides the exit code."""
        self._signal = number
        self._flag.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked to end."""
        return self._flag.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleeps until the time is over or somebody asks to end; gives whether to end."""
        return self._flag.wait(seconds)

    def interrupted(self, message: str = "stopped on request") -> Interrupted:
        """The error of work that ends before it is done."""
        return Interrupted(message, signal=self._signal)

    def raise_if_cancelled(self) -> None:
        """Raises Interrupted if somebody asked to end."""
        if self.is_cancelled:
            raise self.interrupted()
