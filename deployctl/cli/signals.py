"""Signal handling: the first signal requests a graceful stop, the second exits at once.

SIGINT is handled even if the parent set it to be ignored, as a shell does for background processes.
An ignored SIGHUP stays ignored, because that is the purpose of `nohup`. Programs that are still
cleaning up at the second signal are killed with this process.

One request may arrive as two signals: `timeout` and `uv run` forward theirs to a process that has
already received it with its process group. Signals within one second of the first are therefore
ignored.
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

from deployctl.cli.exit import SIGNAL_BASE
from deployctl.core.cancellation import CancellationToken

ECHO_WINDOW = 1.0
"""Seconds after the first signal in which another one counts as a copy of it."""
NOTICE = "stopping gracefully (press Ctrl-C again to quit now)"

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_active: set[CancellationToken] = set()
"""The tokens that signals set now."""


def request_stop(number: int) -> bool:
    """Sets the tokens that signals set now; whether there are any. For a signal handler."""
    for token in tuple(_active):
        _thread.start_new_thread(token.cancel, (number,))
    return bool(_active)


def kill_programs() -> None:
    """Kills the programs that are running, for an exit at once."""
    for token in tuple(_active):
        for group in tuple(token.process_groups):
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


@contextmanager
def stop_on_signals(notify: Callable[[str], None]) -> Iterator[CancellationToken]:
    """A cancellation token that SIGINT, SIGTERM and SIGHUP set; `notify` gets a sentence then.

    `notify` is called from the signal handler, between any two instructions of the main thread, and
    must not take a lock that the main thread may hold. Setting the token takes a lock, so a new
    thread does it. `_thread` starts that thread, because `threading` takes a lock as well.
    """
    stop = CancellationToken()
    first_at: float | None = None

    def handle(number: int, _frame: FrameType | None) -> None:
        """Stops gracefully at the first signal, and exits at the second."""
        nonlocal first_at
        now = time.monotonic()
        if first_at is None:
            first_at = now
            _thread.start_new_thread(stop.cancel, (number,))
            notify(NOTICE)
        elif number != signal.SIGHUP and now - first_at >= ECHO_WINDOW:
            kill_programs()
            sys.stderr.flush()
            os._exit(SIGNAL_BASE + number)

    handles_hangup = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    handled = [number for number in _SIGNALS if number != signal.SIGHUP or handles_hangup]
    previous = {number: signal.signal(number, handle) for number in handled}
    _active.add(stop)
    try:
        yield stop
    finally:
        _active.discard(stop)
        for number, handler in previous.items():
            signal.signal(number, handler)
