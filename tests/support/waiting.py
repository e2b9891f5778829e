"""Waiting for what shall happen: a test never waits for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 100.0
"""Seconds that a busy machine may need for what takes one."""


def until(
    happens: Callable[[], T], why: Callable[[], object] = str, seconds: float = PATIENCE
) -> T:
    """What `happens` gives, once it is something; fails with `why` after too long.

    Whoever is asked works for it, so the pauses grow: a tenth of what was waited already.
    """
    begin = time.monotonic()
    while not (found := happens()):
        waited = time.monotonic() - begin
        if waited > seconds:
            raise AssertionError(f"nothing after {seconds:g} s\n{why()}")
        time.sleep(min(max(0.1, waited / 10), 0.4))
    return found
