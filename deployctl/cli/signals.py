"""What Ctrl-C and a termination signal mean: the first asks to stop, the second ends at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from deployctl.core.stop import Stop

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping(notice: Callable[[str], None]) -> Iterator[Stop]:
    """Gives a stop flag that SIGINT and SIGTERM set; `notice` is told so in a sentence."""
    stop = Stop()

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.asked:
            sys.stderr.flush()
            os._exit(128 + number)
        stop.request(number)
        notice("stopping: no more is begun; once more ends at once")

    before = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
