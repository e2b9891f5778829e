"""What a worker knows, kept up to date by one thread and handed to `decide` as a `World`.

Holds nothing that could not be read again: jobs come from the runtime, runs from the server. A job
that is over leaves the table as soon as its run is final, so memory follows the jobs that live.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from deployctl.api.states import ACTIVE
from deployctl.worker.control.decide import Snapshot
from deployctl.worker.model import Job, JobChanged, JobsListed, JobVanished, Run, RuntimeUpdate
from deployctl.worker.server.claims import Proposal


@dataclass(slots=True)
class StateStore:
    """Runs and jobs, and what this process has to do with them."""

    runs: dict[str, Run] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    due: list[Run] = field(default_factory=list)
    offered: float = 0.0
    """When `due` was asked for, by `clock`."""
    final_states: dict[str, Proposal] = field(default_factory=dict)
    own_claims: dict[str, str] = field(default_factory=dict)
    """Attempts that this process claimed and whose jobs it has not seen yet, and their runs."""
    created_at: dict[str, float] = field(default_factory=dict)
    """When this process made a job that the runtime has not told of yet, by `clock`: a list that
    was begun before does not hold it."""
    missing: dict[str, float] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()
    in_flight: set[str] = field(default_factory=set)
    backoff_until: dict[str, float] = field(default_factory=dict)
    """Runs that are left alone until a time, because something about them failed."""
    failures: dict[str, int] = field(default_factory=dict)
    synced: bool = False
    """The server's runs have been read once."""
    refreshed_at: dict[str, float] = field(default_factory=dict)
    """When a run was heard of by itself: a list that was begun before that knows less."""
    clock: Callable[[], float] = time.monotonic

    def hear(self, news: RuntimeUpdate) -> None:
        """Takes what a runtime tells of its jobs."""
        if isinstance(news, JobChanged):
            self._see(news.job)
        elif isinstance(news, JobVanished):
            self._drop(news.attempt)
        elif isinstance(news, JobsListed):
            there = {job.attempt for job in news.jobs}
            for attempt, job in list(self.jobs.items()):
                created_at = self.created_at.get(attempt, float("-inf"))
                if (
                    job.location == news.location
                    and attempt not in there
                    and created_at < news.requested_at
                ):
                    self._drop(attempt)
            for job in news.jobs:
                self._see(job)

    def offer(self, due: Iterable[Run], requested_at: float) -> None:
        """Takes the runs that the server offers now; of the last offer those stay that are being
        claimed, which the server may know already and nobody here.

        `begun`: when asking began, by `clock`: what was claimed since is no offer any more.
        """
        offered = {
            run.id: run
            for run in due
            if self.refreshed_at.get(run.id, requested_at) <= requested_at
        }
        claiming = [run for run in self.due if run.id in self.in_flight and run.id not in offered]
        self.due = [*claiming, *offered.values()]
        self.offered = requested_at

    def sync(self, asked: Iterable[str], runs: Sequence[Run], requested_at: float) -> None:
        """Takes the runs as the server has them: all active ones, and those of jobs (`asked`).

        `begun`: when reading them began, by `clock`.
        """
        newer = {key for key, when in self.refreshed_at.items() if when >= requested_at}
        found = {run.id: merged(self.runs.get(run.id), run) for run in runs if run.id not in newer}
        kept = {
            key: self.runs[key]
            for key in {*self.in_flight, *self.own_claims.values(), *newer} & self.runs.keys()
        }
        self.runs = kept | found
        self.deleted = frozenset(asked) - found.keys()
        self.synced = True
        for attempt, job in list(self.jobs.items()):
            run = self.runs.get(job.run)
            if job.phase.is_over and (run.type not in ACTIVE if run else job.run in self.deleted):
                self._drop(attempt)
        self._forget_old()
        attempts = {run.attempt for run in self.runs.values()}
        self.final_states = {
            attempt: final_state
            for attempt, final_state in self.final_states.items()
            if attempt in attempts
        }
        self.missing = {key: since for key, since in self.missing.items() if key in self.runs}

    def trim(self) -> None:
        """Forgets the runs that this worker has nothing to do with, because another one leads."""
        kept = {*self.in_flight, *self.own_claims.values()} & self.runs.keys()
        self.runs = {key: self.runs[key] for key in kept}
        self.synced = False
        self._forget_old()

    def know(self, run: Run) -> None:
        """Takes a run as it was read a moment ago."""
        self.runs[run.id] = merged(self.runs.get(run.id), run)
        self.refreshed_at[run.id] = self.clock()
        if run.type != "PENDING":
            self._disown(run.id)

    def forget(self, run_id: str) -> None:
        """Drops a run of which nothing more is to be done."""
        self.runs.pop(run_id, None)
        self._disown(run_id)

    def created(self, job: Job) -> None:
        """Takes a job that was created or found, unless newer word of it has come already."""
        if job.attempt not in self.jobs:
            self.created_at[job.attempt] = self.clock()
            self._put(job)

    def claimed(self, run: Run) -> None:
        """Takes a run that this process has just claimed."""
        self.runs[run.id] = run
        self.own_claims[run.attempt] = run.id
        self.refreshed_at[run.id] = self.clock()
        self.due = [each for each in self.due if each.id != run.id]

    def withdraw(self, run_id: str) -> None:
        """Forgets the offer of a run that could not be claimed."""
        self.due = [run for run in self.due if run.id != run_id]

    def settled(self, run_id: str, job: Job) -> None:
        """The server knows where this job is."""
        if run_id in self.runs:
            self.runs[run_id] = replace(self.runs[run_id], pid=job.pid)
            self.refreshed_at[run_id] = self.clock()

    def removed(self, job: Job, final_state: Proposal | None) -> None:
        """The job will be gone soon; `fate` is what its run becomes then."""
        if job.attempt in self.jobs:
            self.jobs[job.attempt] = replace(self.jobs[job.attempt], deleting=True)
        if final_state is not None:
            self.final_states[job.attempt] = final_state

    def pause(self, run_id: str, until: float) -> None:
        """Leaves a run alone for a while."""
        self.backoff_until[run_id] = until
        self.failures[run_id] = self.failures.get(run_id, 0) + 1

    def live(self, worker: str) -> int:
        """How many jobs of this worker there are or will be at once: what `--limit` counts."""
        there = sum(job.worker == worker and not job.phase.is_over for job in self.jobs.values())
        claiming = sum(run.id in self.in_flight for run in self.due)
        starting = {run.attempt for key in self.in_flight if (run := self.runs.get(key))}
        unseen = (self.own_claims.keys() | starting) - self.jobs.keys()
        return there + claiming + len(unseen)

    def _unstarted_claims(self) -> int:
        """How many claims there are without a job that are neither this process's nor being seen
        to; a start that failed may have made one all the same.
        """
        return sum(
            run.type == "PENDING"
            and bool(run.attempt)
            and run.attempt not in self.jobs
            and run.attempt not in self.own_claims
            and run.id not in self.in_flight
            for run in self.runs.values()
        )

    def world(
        self, now: float, *, slots: int | None, claiming: bool, is_leader: bool, hears: bool
    ) -> Snapshot:
        """What is known at this moment, as one value."""
        self.backoff_until = {
            key: until for key, until in self.backoff_until.items() if until > now
        }
        complete = self.synced and hears
        if complete:
            with_job = {job.run for job in self.jobs.values()}
            for key, run in self.runs.items():
                if run.attempt in self.jobs or (not run.attempt and key in with_job):
                    self.missing.pop(key, None)
                else:
                    self.missing.setdefault(key, now)
        else:
            self.missing.clear()
        return Snapshot(
            now=now,
            due=self.due,
            age=self.clock() - self.offered,
            runs=self.runs,
            jobs=self.jobs,
            missing=self.missing,
            final_states=self.final_states,
            own_claims=frozenset(self.own_claims),
            in_flight=frozenset(self.in_flight | self.backoff_until.keys()),
            slots=slots,
            unstarted_claims=self._unstarted_claims(),
            claiming=claiming,
            is_leader=is_leader,
            complete=complete,
            deleted=self.deleted,
        )

    def _see(self, job: Job) -> None:
        self.created_at.pop(job.attempt, None)
        self._put(job)

    def _put(self, job: Job) -> None:
        self.jobs[job.attempt] = job
        self.own_claims.pop(job.attempt, None)

    def _forget_old(self) -> None:
        """Failures of runs that are not known any more, and touches: no list takes as long as this
        to be read."""
        known = self.runs.keys() | {run.id for run in self.due}
        self.failures = {key: n for key, n in self.failures.items() if key in known}
        old = self.clock() - 300.0
        self.refreshed_at = {key: when for key, when in self.refreshed_at.items() if when > old}

    def _disown(self, run_id: str) -> None:
        self.own_claims = {
            attempt: run for attempt, run in self.own_claims.items() if run != run_id
        }

    def _drop(self, attempt: str) -> None:
        self.jobs.pop(attempt, None)
        self.created_at.pop(attempt, None)


def merged(old: Run | None, new: Run) -> Run:
    """The new word of the server on a run, with what was found out before about its claim.

    Only a claim carries the mark, and between two looks a run may have been claimed anew: so what
    was found out is true of that state alone.
    """
    if old is None or new.attempt or new.foreign or old.state_id != new.state_id:
        return new
    return replace(new, attempt=old.attempt, foreign=old.foreign, name=old.name)
