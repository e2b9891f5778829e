"""What Ctrl-C and a termination signal mean: the first asks to stop, the second ends at once.

Whoever started the process may have had SIGINT ignored (a shell does so for what it runs in the
background); it counts all the same. An ignored SIGHUP is a wish (`nohup`) and stays ignored.
Programs that still clear up when the second comes end with us.

One wish may come as two signals, because programs such as `timeout` and `uv run` send what they get
to a process that got it already, with its group. So what follows within a second is no second one.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from deployctl.core.cancellation import CancellationToken

ECHO = 1.0
"""Seconds within which a signal is the echo of the first."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stopping(notice: Callable[[str], None]) -> Iterator[CancellationToken]:
    """Gives a stop flag that signals set; `notice` is told so in a sentence.

    `notice` is called in the midst of whatever the main thread does: it must not need a lock that
    this thread may hold already. The flag has such a lock, so another thread sets it, and begins
    without `threading`, which has one as well.
    """
    stop = CancellationToken()
    asked: float | None = None

    def ask(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        now = time.monotonic()
        if asked is None:
            asked = now
            _thread.start_new_thread(stop.cancel, (number,))
            notice("stopping: no more is begun; once more, a second later, ends at once")
        elif number != signal.SIGHUP and now - asked >= ECHO:
            for group in tuple(stop.process_groups):
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
            sys.stderr.flush()
            os._exit(128 + number)

    hears_hangup = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    heard = [number for number in _SIGNALS if number != signal.SIGHUP or hears_hangup]
    before = {number: signal.signal(number, ask) for number in heard}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
