"""The time by a server's clock: ours may be minutes off, and its times are what we are told.

Every answer says when it was sent, in whole seconds and some time ago. So clocks that seem to be
only a moment apart are taken to be the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_ERROR = 1.5
"""Seconds that the clocks may seem apart because answers take their time."""


@dataclass(slots=True)
class ServerClock:
    """Calling it gives seconds of the epoch; before the first answer, by our own clock. May be used
    by many threads."""

    _ahead: float = 0.0

    def __call__(self) -> float:
        """The time by the server's clock."""
        return time.time() + self._ahead

    def observe(self, date: str) -> None:
        """Takes the `Date` header of an answer; one that is no date tells nothing."""
        try:
            moment = parsedate_to_datetime(date).timestamp() + 0.5
        except (ValueError, TypeError):
            return
        ahead = moment - time.time()
        self._ahead = ahead if abs(ahead) > _ERROR else 0.0
