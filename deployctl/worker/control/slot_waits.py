"""Runs that wait for a concurrency slot of their deployment (3.x), and when to ask again.

The server has no queue for slots: it refuses the claim and offers the run again half a minute
later, and so it does with each of hundreds of runs. Once it has refused one, a single claim shows
whether there is a slot, so a deployment is asked for one run at a time, with growing pauses, and at
once when a Job of it has ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from deployctl.core.retry import Backoff
from deployctl.worker.model import Run
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

SLOT_STATE = "AwaitingConcurrencySlot"
"""Name of the SCHEDULED state that the server gives to a run whose claim it refuses."""


@dataclass(slots=True)
class _Wait:
    until: float
    refusals: int
    refused: dict[str, float]
    """Run → when it was refused last."""


@dataclass(slots=True)
class SlotWaits:
    """Deployments without a free slot. All times are seconds of the epoch by the server's clock."""

    timings: Timings = DEFAULT_TIMINGS
    _waits: dict[str, _Wait] = field(default_factory=dict)
    """By deployment."""

    def refuse(self, run: Run, now: float) -> None:
        """Notes that there was no slot for a run; claims that were sent together count once."""
        wait = self._waits.setdefault(run.deployment, _Wait(now, 0, {}))
        wait.refused[run.id] = now
        if now >= wait.until:
            timings = self.timings
            backoff = Backoff(first=timings.slot_wait_first, longest=timings.slot_wait_max)
            wait.until = now + backoff.nominal_wait(wait.refusals)
            wait.refusals += 1

    def waits(self, run: Run) -> bool:
        """Whether the deployment of a run is without a slot, as far as is known."""
        return run.deployment in self._waits

    def end(self, deployment: str) -> None:
        """Notes that a slot may be free: a run was claimed, or a Job has ended."""
        if wait := self._waits.get(deployment):
            wait.until, wait.refusals = 0.0, 0

    def accept(self, run: Run) -> None:
        """Notes that a run was claimed."""
        self.end(run.deployment)
        if wait := self._waits.get(run.deployment):
            wait.refused.pop(run.id, None)

    def askable(self, due: Iterable[Run], in_flight: Collection[str], now: float) -> list[Run]:
        """Returns the runs that may be claimed: of a deployment that waits, one at a time."""
        self._forget(now)
        runs, found = list(due), []
        asked = {run.deployment for run in runs if run.id in in_flight}
        for run in runs:
            wait = self._waits.get(run.deployment)
            if wait is None or (now >= wait.until and run.deployment not in asked):
                asked.add(run.deployment)
                found.append(run)
        return found

    def summary(self, due: Iterable[Run]) -> str:
        """Returns how many runs wait, as a sentence; "" if none does."""
        waiting = {run.id for run in due if self.waits(run)}
        waiting.update(run for wait in self._waits.values() for run in wait.refused)
        if not waiting:
            return ""
        runs, deployments = _count(len(waiting), "run"), _count(len(self._waits), "deployment")
        verb = "waits" if len(waiting) == 1 else "wait"
        return f"{runs} of {deployments} {verb} for a concurrency slot"

    def _forget(self, now: float) -> None:
        """Drops runs that the server has not offered again, and deployments without such runs."""
        oldest = now - self.timings.slot_wait_memory
        for deployment, wait in list(self._waits.items()):
            wait.refused = {run: when for run, when in wait.refused.items() if when > oldest}
            if not wait.refused and now >= wait.until:
                del self._waits[deployment]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
