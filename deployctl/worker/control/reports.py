"""Reports about Jobs beside the states of runs: actions that no due run waits for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

from deployctl.worker.model import Job, Run

MAX_REPORTS = 2
"""Reports in flight at once: a run that becomes due waits for them."""


@dataclass(frozen=True, slots=True)
class ReportJob:
    """Reports to the server where a Job is that this process has created, and who created it."""

    run: Run
    job: Job

    @property
    def since(self) -> float:
        """When the Job was created, or has begun to run."""
        return self.job.since


@dataclass(frozen=True, slots=True)
class ReportDelay:
    """Shows in the state of a run that its Job does not start."""

    run: Run
    since: float
    """When that was found out."""


Report: TypeAlias = ReportJob | ReportDelay


@dataclass(slots=True)
class ReportQueue:
    """Reports that the server has not got yet, at most one of each kind for a run."""

    jobs: dict[str, ReportJob] = field(default_factory=dict)
    """By run id."""
    _delays: dict[str, ReportDelay] = field(default_factory=dict)

    def all(self) -> list[Report]:
        """Returns all reports."""
        return [*self.jobs.values(), *self._delays.values()]

    def add_job(self, run: Run, job: Job) -> None:
        """Adds the report of a Job that exists."""
        self.jobs[run.id] = ReportJob(run, job)

    def drop_job(self, run_id: str, attempt: str = "") -> None:
        """Drops the report of a run's Job; with `attempt`, only if it is of this one."""
        if run_id in self.jobs and attempt in ("", self.jobs[run_id].job.attempt):
            del self.jobs[run_id]

    def add_delay(self, run: Run, now: float) -> None:
        """Adds the report that the Job of a run does not start."""
        self._delays[run.id] = ReportDelay(run, now)

    def drop_delay(self, run_id: str) -> None:
        """Drops this report."""
        self._delays.pop(run_id, None)

    def with_location(self, run: Run) -> Run:
        """Returns a run that was read with the location of its Job, if the server does not know
        that yet. A report of another attempt is dropped."""
        if run.id not in self.jobs:
            return run
        job = self.jobs[run.id].job
        if run.attempt in ("", job.attempt):
            return replace(run, pid=run.pid or job.pid)
        del self.jobs[run.id]
        return run
