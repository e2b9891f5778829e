"""Waiting for conditions; tests never wait for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TIMEOUT = 100.0
"""Seconds allowed on a busy machine for what takes one second."""


def until(happens: Callable[[], T], why: Callable[[], object] = str, seconds: float = TIMEOUT) -> T:
    """Poll `happens` until its result is true and return that; fail with `why` after a while.

    Polling costs the server CPU time, so the pauses grow to a tenth of the time waited.
    """
    begin = time.monotonic()
    while not (found := happens()):
        waited = time.monotonic() - begin
        if waited > seconds:
            raise AssertionError(f"nothing after {seconds:g} s\n{why()}")
        time.sleep(min(max(0.1, waited / 10), 0.4))
    return found
