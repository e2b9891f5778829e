"""Order in which a worker claims due runs.

It is the server's order, as long as no other worker is at the same runs. Replicas that are offered
the same runs would all claim the first one first, and all but one of them would lose each claim.
So a worker that has lost one goes through its offer in an order of its own for a while. A run is
overtaken only by some of those that are due soon after it, and by none of a less urgent queue.
"""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass, field
from itertools import groupby

from deployctl.worker.model import Run
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

MAX_IN_FLIGHT = 16
"""Actions of a worker that run at once: threads of its pool."""
_SHARED_CLAIMS = 2
"""Claims that run at once while others are at the same runs: most of those that wait for their
turn would come late."""
_SPREAD = 8
"""How many times as many runs as can be claimed at once a worker chooses from."""


@dataclass(slots=True)
class ClaimOrder:
    """Order of claims of one worker. Times are seconds of one clock."""

    salt: bytes = field(default_factory=lambda: uuid.uuid4().bytes)
    """Makes the order differ from that of other workers."""
    timings: Timings = DEFAULT_TIMINGS
    _shared_until: float = float("-inf")

    def lose(self, now: float) -> None:
        """Notes that another worker had claimed a run before this one."""
        self._shared_until = now + self.timings.contention_memory

    def at_once(self, now: float) -> int:
        """Returns how many claims may run at once."""
        return _SHARED_CLAIMS if now < self._shared_until else MAX_IN_FLIGHT

    def sort(self, due: list[Run], slots: int | None, now: float) -> list[Run]:
        """Returns due runs, given in the server's order, in the order of their claims.

        `slots`: how many more Jobs `--limit` allows, if any; None: unlimited.
        """
        if now >= self._shared_until:
            return due
        at_once = MAX_IN_FLIGHT if slots is None else min(max(0, slots), MAX_IN_FLIGHT)
        window = _SPREAD * at_once / 2**32
        ordered: list[Run] = []
        # The server offers one queue after the other.
        for _, places in groupby(enumerate(due), lambda place: place[1].queue):
            queued = sorted(places, key=lambda place: place[0] + window * self._number(place[1]))
            ordered += [run for _, run in queued]
        return ordered

    def _number(self, run: Run) -> int:
        """Returns a random number that is the same for each offer of the run."""
        return zlib.crc32(run.id.encode(), zlib.crc32(self.salt))
