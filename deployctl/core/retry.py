"""How long to wait before a request is tried again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST_WAIT = 300.0


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
        wait = min(self.longest, self.first)
        for _ in range(self.tries - 1):
            yield wait * draw.uniform(1 - self.jitter, 1 + self.jitter)
            wait = min(self.longest, wait * 2)


def parse_retry_after(text: str, now: datetime) -> float | None:
    """The seconds that `Retry-After` asks for, as a number or as a date; None where it does not.

    Never more than five minutes.
    """
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_WAIT) if seconds == seconds else None
