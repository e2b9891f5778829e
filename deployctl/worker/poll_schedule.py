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

from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

_JITTER = 0.3
"""Part of the interval by which each differs, so that workers do not poll in step."""
_LATE = 0.01
"""Seconds from a moment to its poll: rounded times must not make it early."""
_FOLLOWER_DELAY = (0.5, 1.5)
"""Range of seconds from a moment to the poll of a worker that is not the leader."""
_NEVER = float("inf")


@dataclass(slots=True)
class PollSchedule:
    """Times of polls, in seconds of one clock."""

    interval: float
    """Mean seconds between polls (PREFECT_WORKER_QUERY_SECONDS)."""
    rng: random.Random
    timings: Timings = DEFAULT_TIMINGS
    _regular: float = float("-inf")
    _polled_at: float = float("-inf")
    _refresh: float = _NEVER
    _moments: list[float] = field(default_factory=list)
    """When runs become due that were seen ahead, in order."""

    @property
    def horizon(self) -> float:
        """How many seconds a regular poll looks ahead: until after the next one."""
        return self.interval * (1 + _JITTER) + self.timings.poll_min_interval

    def is_regular(self, now: float) -> bool:
        """Whether the interval is over, so that the next poll looks ahead."""
        return now >= self._regular

    def is_due(self, now: float, *, claims_wait: bool) -> bool:
        """Whether to poll now. `claims_wait`: runs of the last poll are left to be claimed; their
        offer is refreshed before it is too old to be trusted."""
        return now >= min(self._regular, self._next_moment()) or (
            claims_wait and now >= self._refresh
        )

    def wait(self, now: float) -> float:
        """Seconds until the next poll may be due."""
        refresh = self._refresh if self._refresh > now else _NEVER
        return max(0.0, min(self._regular, self._next_moment(), refresh) - now)

    def begin(self, now: float) -> None:
        """Notes the start of a poll. If it fails, the next one comes at an interval."""
        if self.is_regular(now):
            self._regular = now + self.interval * self.rng.uniform(1 - _JITTER, 1 + _JITTER)
            self._moments = []
        self._polled_at = now
        self._moments = [moment for moment in self._moments if moment > now]
        self._refresh = _NEVER

    def add_moments(self, due_in: Iterable[float], *, delayed: bool) -> None:
        """Notes in how many seconds from the start of the last poll runs become due.

        `delayed`: other workers poll at once, so this one waits a bit and sees what they leave.
        """
        delay = _LATE + (self.rng.uniform(*_FOLLOWER_DELAY) if delayed else 0.0)
        self._moments = sorted(self._polled_at + seconds + delay for seconds in due_in)

    def end(self, offers: int, *, more: bool) -> None:
        """Notes how many due runs the last poll returned. `more`: the server may have more."""
        if offers:
            self._refresh = self._polled_at + self.timings.offer_ttl / 2
        if more:
            self._regular = min(self._regular, self._polled_at + self.timings.tick)

    def _next_moment(self) -> float:
        if not self._moments:
            return _NEVER
        return max(self._moments[0], self._polled_at + self.timings.poll_min_interval)
