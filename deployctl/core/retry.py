"""How long to wait before a request is tried again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from `first` to `longest` seconds, `tries - 1` of them, with jitter.

    Each wait is drawn from `wait * (1 ± jitter)`, so that clients that failed together do not come
    back together.
    """

    tries: int = 6
    first: float = 0.2
    longest: float = 20.0
    jitter: float = 0.2

    def waits(self, draw: random.Random) -> Iterator[float]:
        """Seconds to wait before the second try, the third, …"""
        for attempt in range(self.tries - 1):
            wait = min(self.longest, self.first * 2**attempt)
            yield wait * draw.uniform(1 - self.jitter, 1 + self.jitter)
