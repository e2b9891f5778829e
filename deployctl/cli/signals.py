"""What Ctrl-C and a termination signal mean: the first asks to stop, the second ends at once.

Whoever started the process may have had SIGINT ignored (a shell does so for what it runs in the
background); it counts all the same. An ignored SIGHUP is a wish (`nohup`) and stays ignored.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from deployctl.core.stop import Stop

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stopping(notice: Callable[[str], None]) -> Iterator[Stop]:
    """Gives a stop flag that signals set; `notice` is told so in a sentence.

    `notice` is called in the midst of whatever the main thread does: it must not need a lock that
    this thread may hold already.
    """
    stop = Stop()

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.asked and number == signal.SIGHUP:
            return
        if stop.asked:
            sys.stderr.flush()
            os._exit(128 + number)
        stop.request(number)
        notice("stopping: no more is begun; once more ends at once")

    wanted = [each for each in _SIGNALS if each != signal.SIGHUP or _hangs_up()]
    before = {number: signal.signal(number, ask) for number in wanted}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hangs_up() -> bool:
    return signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
