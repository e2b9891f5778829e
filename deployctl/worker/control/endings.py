"""Runs whose Jobs were deleted to end them, until their ends are reported.

On SIGTERM, Prefect 3's process schedules its run again. Such a run must get its end nonetheless,
and must not be claimed meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from deployctl.api.states import CANCELLED, FINAL
from deployctl.worker.model import Job, Run
from deployctl.worker.server.claims import Proposal

_HOLD = 10.0
"""Seconds for which a run is not claimed after its Job was deleted: the leader may have deleted the
Job to end the run, and others do not know."""


@dataclass(slots=True)
class Endings:
    """What this process has begun to end, and runs whose Jobs were deleted by anyone."""

    final_states: dict[str, Proposal] = field(default_factory=dict)
    attempts: dict[str, str] = field(default_factory=dict)
    """Run → attempt. Both as in `Snapshot`."""
    _held_until: dict[str, float] = field(default_factory=dict)
    """Run whose Job was deleted → when it may be claimed again, by the store's clock."""

    def begin(self, job: Job, final_state: Proposal) -> None:
        """Records the state to propose once a Job is gone whose deletion was requested."""
        self.final_states[job.attempt] = final_state
        if job.started:
            self.attempts[job.run] = job.attempt

    def drop(self, run_id: str) -> None:
        """Lets a run be claimed whose Job was deleted to end it."""
        self.attempts.pop(run_id, None)

    def hold(self, run_id: str, moment: float) -> None:
        """Keeps a run whose Job was deleted from being claimed for a while."""
        self._drop_held(moment)
        self._held_until[run_id] = moment + _HOLD

    def unclaimable(self, moment: float) -> set[str]:
        """Returns the runs that must not be claimed now."""
        self._drop_held(moment)
        return {*self._held_until, *self.attempts}

    def _drop_held(self, moment: float) -> None:
        self._held_until = {run: t for run, t in self._held_until.items() if t > moment}

    def refresh(self, run: Run, jobs: Mapping[str, Job]) -> None:
        """Drops a run that was just read, if its end is reported or not needed any more."""
        attempt = self.attempts.get(run.id, "")
        if not _needs_end(run, attempt, jobs.get(attempt)):
            self.drop(run.id)

    def sync(
        self, runs: Mapping[str, Run], jobs: Mapping[str, Job], deleted: AbstractSet[str]
    ) -> None:
        """Drops what is not needed any more, given all runs; `deleted`: those that were."""
        for run_id in (deleted - runs.keys()) & self.attempts.keys():
            self.drop(run_id)
        for run_id in runs.keys() & self.attempts.keys():
            self.refresh(runs[run_id], jobs)
        attempts = {run.attempt for run in runs.values()} | {*self.attempts.values()}
        self.final_states = {a: state for a, state in self.final_states.items() if a in attempts}

    def drop_hung(
        self, runs: Mapping[str, Run], jobs: Mapping[str, Job], now: float, grace: float
    ) -> None:
        """Lets cancelled runs be scheduled again whose Job cannot be deleted."""
        for run_id, attempt in list(self.attempts.items()):
            run, job = runs.get(run_id), jobs.get(attempt)
            if run and run.type == CANCELLED and job and job.deletion_hangs(now, grace):
                self.drop(run_id)


def _needs_end(run: Run, attempt: str, job: Job | None) -> bool:
    """Whether the end of a run under this attempt is still to be reported."""
    if run.type == CANCELLED and job is not None:
        return not job.phase.is_over  # until then, its process may schedule the run
    return run.type not in FINAL and not run.foreign and run.attempt in ("", attempt)
