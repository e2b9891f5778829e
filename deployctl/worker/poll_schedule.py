"""When a worker polls for scheduled runs.

Besides the polls at intervals, which look as far ahead as the next one may be away, there is one
when a run that was seen ahead becomes due, so that it is claimed then and not up to an interval
later. The server is asked again at that moment, and not before: only its answer takes the limits of
pool and queues into account, and the run may have changed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from deployctl.api.paging import PAGE
from deployctl.worker.control.claim_order import MAX_IN_FLIGHT
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

_JITTER = 0.3
"""Part of the interval by which each differs, so that workers do not poll in step."""
_LATE = 0.01
"""Seconds from a moment to its poll: rounded times must not make it early."""
_FOLLOWER_LAG = (0.5, 1.5)
"""Range of seconds that a worker which is not the leader leaves runs to the leader."""
_FOLLOWER_PAUSE = 1.0
"""Shortest time between the polls of such a worker; doubles while the leader leaves nothing."""
_NEVER = float("inf")


@dataclass(slots=True)
class PollSchedule:
    """Times of polls, in seconds of one clock."""

    interval: float
    """Mean seconds between polls (PREFECT_WORKER_QUERY_SECONDS)."""
    rng: random.Random
    timings: Timings = DEFAULT_TIMINGS
    lag: float = field(init=False)
    """Seconds that a run has to be due before a worker that is not the leader claims it."""
    _regular: float = float("-inf")
    _polled_at: float = float("-inf")
    _refresh: float = _NEVER
    _is_moment: bool = False
    """The last poll was not a regular one."""
    _pause: float = 0.0
    """Shortest time from the last poll to the next one at a moment."""
    _in_vain: int = 0
    """Polls in a row, as one that is not the leader, for which the leader had left nothing."""
    _offers: int = 0
    """Runs of the last poll."""
    _moments: list[float] = field(default_factory=list)
    """When runs become due that were seen ahead, in order."""

    def __post_init__(self) -> None:
        self.lag = self.rng.uniform(*_FOLLOWER_LAG)

    def page(self, claims_wait: int) -> int:
        """How many runs to ask for: a full page, or a few times as many as were claimed since the
        last poll, if others of its runs are left. A server needs 1.5 ms for each run that it offers
        (3.9.1), and the replicas are offered the same ones."""
        if not claims_wait:
            return PAGE
        return min(PAGE, 4 * max(MAX_IN_FLIGHT, self._offers - claims_wait))

    @property
    def horizon(self) -> float:
        """How many seconds a regular poll looks ahead: until after the next one."""
        return self.interval * (1 + _JITTER) + self.timings.poll_min_interval

    def is_regular(self, now: float) -> bool:
        """Whether the interval is over, so that the next poll looks ahead."""
        return now >= self._regular

    def is_due(self, now: float, *, claims_wait: int) -> bool:
        """Whether to poll now. `claims_wait`: runs of the last poll are left to be claimed; their
        offer is refreshed before it is too old to be trusted."""
        return now >= min(self._regular, self._next_moment()) or (
            claims_wait > 0 and now >= self._refresh
        )

    def wait(self, now: float) -> float:
        """Seconds until the next poll may be due."""
        refresh = self._refresh if self._refresh > now else _NEVER
        return max(0.0, min(self._regular, self._next_moment(), refresh) - now)

    def begin(self, now: float) -> None:
        """Notes the start of a poll. If it fails, the next one comes at an interval."""
        self._is_moment = not self.is_regular(now)
        if not self._is_moment:
            self._regular = now + self.interval * self.rng.uniform(1 - _JITTER, 1 + _JITTER)
            self._moments = []
        self._polled_at = now
        self._moments = [moment for moment in self._moments if moment > now]
        self._refresh = _NEVER

    def add_moments(self, due_in: Iterable[float], *, complete: bool = True) -> None:
        """Notes in how many seconds from the start of the last poll runs become due.

        Unless the list is complete, the next regular poll comes when the last of them is due.
        """
        self._moments = sorted(self._polled_at + seconds + _LATE for seconds in due_in)
        if not complete:
            last = max(self._moments[-1], self._polled_at + self.timings.tick)
            self._regular = min(self._regular, last)

    def end(self, now: float, offers: int, *, more: bool, follows: bool) -> None:
        """Notes how many due runs the last poll returned.

        `more`: the server may have more; `follows`: the worker left newer ones to the leader.
        """
        timings, slow = self.timings, self.timings.poll_pause * (now - self._polled_at)
        self._offers = offers
        if offers or not follows:
            self._in_vain = 0
        elif self._is_moment:
            self._in_vain += 1
        self._pause = max(timings.poll_min_interval, slow)
        if follows:
            self._pause = max(self._pause, _FOLLOWER_PAUSE * 2 ** min(self._in_vain, 10))
        if offers:
            self._refresh = self._polled_at + max(timings.offer_ttl / 2, slow)
        if more:
            self._regular = min(self._regular, self._polled_at + max(timings.tick, slow))

    def _next_moment(self) -> float:
        if not self._moments:
            return _NEVER
        return max(self._moments[0], self._polled_at + self._pause)
