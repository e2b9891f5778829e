"""The server's clock, estimated from the `Date` header of its responses.

The local clock may be minutes off, while every timestamp that a server sends is by its own clock.
A `Date` header has a resolution of one second and is as old as the response took, so offsets below
`_TOLERANCE` count as zero.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_TOLERANCE = 1.5
"""Offset in seconds that is explained by latency and by the header's resolution."""


@dataclass(slots=True)
class ServerClock:
    """A callable that returns the server's time as seconds since the epoch. Thread-safe.

    Until the first response is observed it returns the local time.
    """

    _offset: float = 0.0

    def __call__(self) -> float:
        """The server's time in seconds since the epoch."""
        return time.time() + self._offset

    @property
    def offset(self) -> float:
        """Seconds by which the server's clock is ahead of the local one, behind it if negative."""
        return self._offset

    def observe(self, date: str) -> None:
        """Updates the offset from a `Date` header; an invalid header is ignored."""
        try:
            moment = parsedate_to_datetime(date).timestamp() + 0.5
        except (ValueError, TypeError):
            return
        offset = moment - time.time()
        self._offset = offset if abs(offset) > _TOLERANCE else 0.0
