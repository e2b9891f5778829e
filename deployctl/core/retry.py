"""Exponential backoff, and the `Retry-After` header."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count

_MAX_RETRY_AFTER = 300.0
_MAX_DOUBLINGS = 64
"""Keeps the exponent finite when a server is down for days."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff: waits double from `first` up to `longest` seconds.

    `tries` is the number of attempts, so there are `tries - 1` waits; None means no limit. Each
    wait is multiplied by a random factor from `1 ± jitter`, so that clients that failed together
    don't retry together.
    """

    tries: int | None = 6
    first: float = 0.2
    longest: float = 20.0
    jitter: float = 0.2

    def nominal_wait(self, failures: int) -> float:
        """Seconds to wait after `failures` further failures, without jitter; 0 gives `first`."""
        return min(self.longest, self.first * 2.0 ** min(failures, _MAX_DOUBLINGS))

    def waits(self, rng: random.Random) -> Iterator[float]:
        """Yields the seconds to wait before the second attempt, the third, and so on."""
        for failures in count() if self.tries is None else range(self.tries - 1):
            yield self.nominal_wait(failures) * rng.uniform(1 - self.jitter, 1 + self.jitter)


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Returns the seconds that a `Retry-After` header asks for, at most five minutes.

    The header holds either a number of seconds or an HTTP date (RFC 9110, section 10.2.3). None if
    it is neither.
    """
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER) if seconds == seconds else None
