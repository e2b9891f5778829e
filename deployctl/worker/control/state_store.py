"""Mutable state of the reconcile loop; `decide` gets it as a `Snapshot`.

It holds nothing that could not be read again: Jobs come from the runtime, runs from the server. A
finished Job is dropped as soon as its run is final, so memory follows the number of live Jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from deployctl.api.states import FINAL
from deployctl.worker.control.actions import Action, Start, run_id_of
from deployctl.worker.control.claim_order import ClaimOrder
from deployctl.worker.control.decide import runs_with_old_job
from deployctl.worker.control.endings import Endings
from deployctl.worker.control.own_claims import OwnClaims
from deployctl.worker.control.reports import ReportQueue
from deployctl.worker.control.slot_waits import SlotWaits
from deployctl.worker.control.slots import count_unstarted_claims
from deployctl.worker.control.snapshot import Snapshot
from deployctl.worker.model import (
    Job,
    JobChanged,
    JobsListed,
    JobVanished,
    Phase,
    Run,
    RuntimeUpdate,
)
from deployctl.worker.server.claims import Proposal
from deployctl.worker.server.runs import merge_run

_REFRESHED_TTL = 300.0
"""Seconds after which the time of a refresh is dropped: no list takes that long to be read."""


@dataclass(slots=True)
class StateStore:
    """Runs, Jobs, and this process's part in them. Owned by one thread."""

    runs: dict[str, Run] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    due: list[Run] = field(default_factory=list)
    offered_at: float = 0.0
    """When `due` was requested, by `clock`."""
    endings: Endings = field(default_factory=Endings)
    claims: OwnClaims = field(default_factory=OwnClaims)
    created_at: dict[str, float] = field(default_factory=dict)
    """When this process created a Job not emitted yet, by `clock`: earlier lists do not have it."""
    deployments: dict[str, str] = field(default_factory=dict)
    """Attempt → deployment of its run, for Jobs: a follower keeps no runs that have one."""
    reports: ReportQueue = field(default_factory=ReportQueue)
    missing: dict[str, float] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()
    gone_owners: frozenset[str] = frozenset()
    """Owners of claims whose only worker has come back elsewhere, with another owner."""
    slot_waits: SlotWaits = field(default_factory=SlotWaits)
    claim_order: ClaimOrder = field(default_factory=ClaimOrder)
    in_flight: set[str] = field(default_factory=set)
    backoff_until: dict[str, float] = field(default_factory=dict)
    """Run → when it may be acted on again after a failure."""
    failures: dict[str, int] = field(default_factory=dict)
    synced: bool = False
    """The server's runs have been read at least once."""
    refreshed_at: dict[str, float] = field(default_factory=dict)
    """When a run was read by itself, by `clock`: a list that was requested earlier is older."""
    waiting_since: dict[str, float] = field(default_factory=dict)
    """Attempt → when its Job was first seen, by `clock`, if it was waiting then. Jobs of the first
    list are left out, because they may be older."""
    unfinished: set[str] = field(default_factory=set)
    """Runs whose Job was seen before its end, and whose own end was not."""
    ended: dict[str, Run] = field(default_factory=dict)
    """Unfinished runs that were seen to have ended; the owner of the store removes them."""
    refused_at: dict[str, float] = field(default_factory=dict)
    """Run → when the server last refused its claim until a slot is free, by `clock`."""
    clock: Callable[[], float] = time.monotonic

    def apply(self, update: RuntimeUpdate) -> None:
        """Applies an update of the runtime."""
        if isinstance(update, JobChanged):
            self._note_waiting(update.job)
            self._observe(update.job)
        elif isinstance(update, JobVanished):
            self._drop_job(update.attempt)
        elif isinstance(update, JobsListed):
            listed = {job.attempt for job in update.jobs}
            for attempt, job in list(self.jobs.items()):
                older = self.created_at.get(attempt, float("-inf")) < update.requested_at
                if older and job.location == update.location and attempt not in listed:
                    self._drop_job(attempt)
            for job in update.jobs:
                self._observe(job)

    def set_due(self, due: Iterable[Run], requested_at: float) -> None:
        """Replaces the scheduled runs with those that the server offers now.

        Runs whose claim is in flight are kept: the server may already know the claim when this
        process does not. `requested_at`, by `clock`: a run that was refreshed later is not due.
        """
        offered = {
            run.id: run
            for run in due
            if self.refreshed_at.get(run.id, requested_at) <= requested_at
        }
        for run_id in offered:
            self.reports.drop_job(run_id)  # its next attempt must not get this Job's location
        claiming = [run for run in self.due if run.id in self.in_flight and run.id not in offered]
        self.due = [*claiming, *offered.values()]
        self.offered_at = requested_at

    def sync(self, requested: Iterable[str], runs: Sequence[Run], requested_at: float) -> None:
        """Replaces the runs with those of the server: all active ones and those of known Jobs.

        `requested`: ids of the latter; those that are not in `runs` were deleted. `requested_at`:
        when reading began, by `clock`; a run that was refreshed later is kept.
        """
        newer = {key for key, when in self.refreshed_at.items() if when >= requested_at}
        found = {run.id: self._merge(run) for run in runs if run.id not in newer}
        known = {*self.in_flight, *self.claims.runs.values(), *newer} & self.runs.keys()
        kept = {key: self.runs[key] for key in known}
        self.runs = kept | found
        for each in found.values():
            self.claims.observe(each)
        self.deleted = frozenset(requested) - found.keys()
        self.unfinished -= self.deleted
        for each in found.values():
            self._note_end(each, is_news=self.synced)
        self.synced = True
        for attempt, job in list(self.jobs.items()):
            run = self.runs.get(job.run)
            if job.phase.is_over and (not run.is_active if run else job.run in self.deleted):
                self._drop_job(attempt)
        self._drop_stale()
        self.endings.sync(self.runs, self.jobs, self.deleted)
        self.missing = {key: since for key, since in self.missing.items() if key in self.runs}

    def trim(self) -> None:
        """Drops runs that this worker has nothing to do with, because another one is the leader."""
        kept = {*self.in_flight, *self.claims.runs.values()} & self.runs.keys()
        self.runs = {key: self.runs[key] for key in kept}
        self.endings.attempts = {}
        self.synced = False
        self.unfinished &= {job.run for job in self.jobs.values()}
        self._drop_stale()

    def refresh_run(self, run: Run, *, end_reported: bool = False) -> None:
        """Stores a run as it was read a moment ago.

        `end_reported`: this worker has just reported its end, so it is not one of `ended`.
        """
        if end_reported:
            self.unfinished.discard(run.id)
            self.ended.pop(run.id, None)
        self._note_end(run)
        self.runs[run.id] = self._merge(run)
        self.refreshed_at[run.id] = self.clock()
        if run.type in FINAL:
            self.slot_waits.end(run.deployment)
        self.claims.observe(self.runs[run.id])
        self.endings.refresh(self.runs[run.id], self.jobs)

    def forget_run(self, run_id: str) -> None:
        """Drops a run that was deleted."""
        self.runs.pop(run_id, None)
        self.unfinished.discard(run_id)
        self.reports.drop_job(run_id)
        self.claims.forget_run(run_id)

    def add_job(self, job: Job) -> None:
        """Stores a Job that was created or found, unless a newer update of it has been applied."""
        if job.attempt not in self.jobs:
            self.created_at[job.attempt] = self.clock()
            self._note_waiting(job)
            self._put_job(job)

    def add_unreported(self, run: Run, job: Job) -> None:
        """Stores a Job that this process has created or found for its claim, and will report."""
        self.add_job(job)
        self.reports.add_job(run, job)
        if run.id in self.runs:
            self.runs[run.id] = replace(self.runs[run.id], pid=job.pid)

    def add_claim(self, run: Run) -> None:
        """Stores a run that this process has just claimed."""
        self.runs[run.id] = run
        self.reports.drop_job(run.id)
        self.claims.add(run)
        self.slot_waits.accept(run)
        self.refreshed_at[run.id] = self.clock()
        self.withdraw_offer(run.id)

    def resume_claims(self, runs: Iterable[Run]) -> None:
        """Stores claims of an earlier process of this worker's name as claims of this process."""
        self.claims.resumed = True
        for run in runs:
            if run.attempt not in self.jobs and run.id not in self.refreshed_at:
                self.add_claim(run)
                self._adopt_claim(run)

    def begin(self, action: Action) -> None:
        """Records that an action is in flight.

        A claim of another process whose Job is created becomes this process's own: a start that
        fails may have created the Job nonetheless, so the claim keeps its slot.
        """
        run_id = run_id_of(action)
        self.in_flight.add(run_id)
        if isinstance(action, Start):
            self.claims.begin_start(action.run)
            if not action.fresh:
                self._adopt_claim(action.run)

    def end(self, action: Action) -> None:
        """Records that an action has ended."""
        run_id = run_id_of(action)
        self.in_flight.discard(run_id)
        self.claims.end_start(run_id)

    def set_gone_owners(self, owners: frozenset[str]) -> None:
        """Records the owners whose claims no other worker looks after any more."""
        self.gone_owners = owners

    def withdraw_offer(self, run_id: str, *, waits_for_slot: bool = False) -> None:
        """Drops a scheduled run that was or could not be claimed.

        `waits_for_slot`: the server offers it again once a concurrency limit allows it.
        """
        self.due = [run for run in self.due if run.id != run_id]
        if waits_for_slot:
            self.refused_at[run_id] = self.clock()
        else:
            self.refused_at.pop(run_id, None)

    def waited(self, attempt: str) -> float | None:
        """Returns how long a Job has waited that now runs; None if its start was not seen."""
        since = self.waiting_since.pop(attempt, None)
        return None if since is None else self.clock() - since

    def set_pid(self, run_id: str, job: Job) -> None:
        """Records that the server knows the location of this Job."""
        self.reports.drop_job(run_id, job.attempt)
        if run_id in self.runs:
            self.runs[run_id] = replace(self.runs[run_id], pid=job.pid)
            self.refreshed_at[run_id] = self.clock()

    def mark_deleting(self, job: Job, final_state: Proposal | None) -> None:
        """Records a requested deletion of a Job; `final_state` is proposed once the Job is gone."""
        if job.attempt in self.jobs:
            self.jobs[job.attempt] = replace(self.jobs[job.attempt], deleting=True)
        if final_state is not None:
            self.endings.begin(job, final_state)

    def back_off(self, run_id: str, until: float) -> None:
        """Leaves a run alone until a time, and counts a failure."""
        self.backoff_until[run_id] = until
        self.failures[run_id] = self.failures.get(run_id, 0) + 1

    @property
    def is_idle(self) -> bool:
        """Whether no action is in flight, no claim waits, and no report that was not refused."""
        reports = self.reports.jobs.keys() - self.backoff_until.keys()
        return not (self.in_flight or self.claims.unseen() or reports)

    def may_stop(self, end: float) -> bool:
        """Whether a worker that stops by `end`, by the server's clock, has nothing left to do until
        then: neither a claim nor a report that does not back off for longer."""
        later = {run_id for run_id, until in self.backoff_until.items() if until >= end}
        waiting = {*self.claims.runs.values(), *self.reports.jobs}
        return not (self.in_flight or waiting - later)

    def snapshot(
        self,
        now: float,
        *,
        slots: int | None,
        claiming: bool,
        is_leader: bool,
        watches_synced: bool,
    ) -> Snapshot:
        """Returns what is known now as one value, and updates `missing`."""
        self.backoff_until = {
            key: until for key, until in self.backoff_until.items() if until > now
        }
        moment = self.clock()
        self.endings.drop_hung(self.runs, self.jobs, now, self.slot_waits.timings.deletion_grace)
        complete = self.synced and watches_synced
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
            due=self.slot_waits.askable(self._claimable(now, slots), self.in_flight, now),
            age=moment - self.offered_at,
            runs=self.runs,
            jobs=self.jobs,
            missing=self.missing,
            final_states=self.endings.final_states,
            ending=self.endings.attempts,
            own_claims=self.claims.runs,
            left_claims=self.claims.left,
            reports=self.reports.all(),
            reporting=sum(report.run.id in self.in_flight for report in self.reports.all()),
            starting=any(run.id in self.in_flight for run in self.due)
            or not self.in_flight.isdisjoint(self.claims.runs.values()),
            in_flight=frozenset(self.in_flight | self.backoff_until.keys()),
            slots=slots,
            unstarted_claims=count_unstarted_claims(self),
            claiming=claiming,
            is_leader=is_leader,
            complete=complete,
            deleted=self.deleted,
            gone_owners=self.gone_owners,
        )

    def _claimable(self, now: float, slots: int | None) -> list[Run]:
        """Returns due runs that may be, or are just being, claimed, in the order of their claims.

        Others must not stand for their deployment while that waits for a slot.
        """
        if not self.due:
            return []
        blocked = runs_with_old_job(self.jobs.values(), now, self.slot_waits.timings)
        blocked |= self.endings.unclaimable(self.clock()) | self.backoff_until.keys()
        blocked |= {run.id for run in self.claims.left.values()}
        found = [run for run in self.due if run.id in self.in_flight or run.id not in blocked]
        return self.claim_order.sort(found, slots, self.clock())

    def _merge(self, run: Run) -> Run:
        """Returns a run as it was read, with what is known about its claim and its Job."""
        return self.reports.with_location(merge_run(self.runs.get(run.id), run))

    def _observe(self, job: Job) -> None:
        self.created_at.pop(job.attempt, None)
        self._put_job(job)
        if job.phase.is_over and job.attempt in self.deployments:
            self.slot_waits.end(self.deployments[job.attempt])

    def _put_job(self, job: Job) -> None:
        self.jobs[job.attempt] = job
        self.claims.mark_seen(job.attempt)
        run = self.runs.get(job.run)
        if run is not None:
            self.deployments[job.attempt] = run.deployment
        if not job.phase.is_over and (run is None or run.type not in FINAL):
            self.unfinished.add(job.run)

    def _note_waiting(self, job: Job) -> None:
        if job.attempt not in self.jobs and job.phase is Phase.WAITING:
            self.waiting_since.setdefault(job.attempt, self.clock())

    def _note_end(self, run: Run, *, is_news: bool = True) -> None:
        """`is_news`: the end came after the last sync; an earlier one the last leader has noted."""
        if run.type in FINAL and run.id in self.unfinished:
            self.unfinished.discard(run.id)
            self.ended |= {run.id: run} if is_news else {}

    def _drop_stale(self) -> None:
        """Drops failures of runs that are not known any more, and old refresh times."""
        known = self.runs.keys() | {run.id for run in self.due}
        self.failures = {key: n for key, n in self.failures.items() if key in known}
        oldest = self.clock() - _REFRESHED_TTL
        self.refreshed_at = {key: when for key, when in self.refreshed_at.items() if when > oldest}
        self.refused_at = {key: when for key, when in self.refused_at.items() if when > oldest}

    def _adopt_claim(self, run: Run) -> None:
        """Makes a claim this process's own. It counts as having failed once, so that its Job is
        looked for before it is created."""
        self.claims.add(run)
        self.failures.setdefault(run.id, 1)

    def _drop_job(self, attempt: str) -> None:
        job = self.jobs.pop(attempt, None)
        self.created_at.pop(attempt, None)
        self.waiting_since.pop(attempt, None)
        self.deployments.pop(attempt, None)
        if job is not None and job.deleting and job.started:
            self.endings.hold(job.run, self.clock())
