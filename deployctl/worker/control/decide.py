"""Decides what a worker does next from the difference between runs and Jobs. Pure.

This is the only place that decides to claim, start, adopt, delete or report. It reads the current
state and no history, so what a dead worker left behind follows the same rules as a worker's own
runs.

Every action is bound to the state that it was decided on: the executor reads the run again first
and does nothing if the run has moved on. A snapshot that is seconds old is therefore good enough.

| run          | its Job                            | action                                      |
|--------------|------------------------------------|---------------------------------------------|
| SCHEDULED    | not started, of an old attempt     | delete it: it could run beside the next one |
| SCHEDULED    | was deleted to end the run         | the end: its process scheduled it on SIGTERM|
| PENDING      | none                               | start it; if it was started before: CRASHED |
| any active   | exists, unknown to the server      | finish its setup                            |
| any active   | failed, or stuck too long          | CRASHED with the cause                      |
| any active   | succeeded, but never reported      | CRASHED: it ended without reporting         |
| any active   | its deletion hangs                 | the end that it was deleted for, or CRASHED |
| RUNNING      | none                               | CRASHED: the Job vanished                   |
| in process   | as RUNNING                         | as RUNNING                                  |
| CANCELLING   | not started, ignores cancellation, | delete it, then CANCELLED                   |
|              | or past the grace period           |                                             |
| CANCELLING   | over, gone, or will never start    | CANCELLED                                   |
| CANCELLING   | none, and never was one            | clean up its start, then CANCELLED          |
| CANCELLED    | not started, or still running      | delete it                                   |
| final        | not started                        | delete it: it would restart the run         |
| re-claimed   | not started, of an old attempt     | delete it, also under a foreign claim       |
| not under it | of an own claim, not seen yet      | look for it: it may take a slot             |
| either       | between two tries of a pod         | delete it: the next pod would run it again  |
| any active   | of an owner that is gone           | CRASHED; CANCELLED if CANCELLING            |

Reports about Jobs, beside states (`ReportJob`, `ReportDelay`), come last, so that no due run waits
for them; once they are late, they come before claims.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from deployctl.api import states
from deployctl.api.states import CANCELLING, FINAL, PENDING, SCHEDULED
from deployctl.worker.control.actions import (
    Action,
    Claim,
    CleanUpStart,
    ConfirmMissing,
    DeleteJob,
    FindJob,
    FinishSetup,
    ReportFinalState,
    ResolveClaim,
    Start,
    run_id_of,
)
from deployctl.worker.control.outcomes import WORKER_GONE, Outcome, not_deleted, outcome
from deployctl.worker.control.reports import MAX_REPORTS
from deployctl.worker.control.snapshot import Snapshot
from deployctl.worker.model import Job, Run
from deployctl.worker.server.claims import Proposal
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

CANCELLED = Proposal(states.CANCELLED, "Cancelled", "The job of this run was stopped.", force=True)
"""Forced, because a CANCELLING run accepts no other state, and 2.20 not even this one."""


def decide(snapshot: Snapshot, timings: Timings = DEFAULT_TIMINGS) -> list[Action]:
    """Returns the actions for now, most urgent first; claims in the server's order.

    Of several actions for one run (a claim and an old Job, say) only the first is carried out; the
    next step decides again.
    """
    free = {
        key: run
        for key, run in snapshot.runs.items()
        if key not in snapshot.in_flight and not run.foreign
    }
    own = {id_: free[id_] for id_ in snapshot.own_claims.values() if id_ in free}
    actions: list[Action] = [
        Start(run, fresh=True) for run in own.values() if _is_own_unstarted(snapshot, run)
    ]
    actions += [ResolveClaim(run) for run in own.values() if _may_have_own_job(run)]
    left = snapshot.left_claims.values()
    actions += [FindJob(run) for run in left if run.id not in snapshot.in_flight]
    if snapshot.is_leader and snapshot.complete:
        newest = _newest_jobs(snapshot)
        decided = {run_id_of(action) for action in actions}
        for key, run in free.items():
            if key not in decided:
                actions += _observe(snapshot, run, newest.get(key), timings)
        actions += _orphaned_jobs(snapshot, timings)
        actions += _left_by_gone_owners(snapshot)
    if snapshot.claiming and snapshot.due:
        waiting = runs_with_old_job(snapshot.jobs.values(), snapshot.now, timings)
        waiting |= snapshot.in_flight | snapshot.ending.keys()
        due = [run for run in snapshot.due if run.id not in waiting]
        fresh = snapshot.age < timings.offer_ttl
        actions += [Claim(run, fresh=fresh and not run.pid) for run in due]
    allowed = list(_within_slots(actions, snapshot.slots, snapshot.unstarted_claims))
    delay = timings.report_delay if is_busy(snapshot, allowed) else 0.0
    reports = [
        report
        for report in sorted(snapshot.reports, key=lambda report: report.since)
        if report.run.id not in snapshot.in_flight and snapshot.now - report.since >= delay
    ][: max(0, MAX_REPORTS - snapshot.reporting)]
    late = [each for each in reports if snapshot.now - each.since >= timings.report_delay]
    claims = [action for action in allowed if isinstance(action, Claim)]
    return [*allowed[: len(allowed) - len(claims)], *late, *claims, *reports[len(late) :]]


def is_busy(snapshot: Snapshot, actions: Sequence[Action]) -> bool:
    """Returns whether a run waits for its claim or its Job; `actions`: those of the snapshot."""
    return snapshot.starting or any(isinstance(action, Claim | Start) for action in actions)


def _within_slots(
    actions: Sequence[Action], slots: int | None, unstarted_claims: int
) -> Iterator[Action]:
    """Drops actions that would exceed `slots`: claims, and starts for claims of other processes.
    This process's own claims already hold their slots, unless they are more than `--limit` allows.
    """
    left = float("inf") if slots is None else slots
    own = sum(isinstance(action, Start) and action.fresh for action in actions) + min(0, left)
    for action in actions:
        if isinstance(action, Start) and action.fresh:
            own -= 1
            if own < 0:
                continue
        if isinstance(action, Start) and not action.fresh:
            if left <= 0:
                continue
            left, unstarted_claims = left - 1, max(0, unstarted_claims - 1)
        elif isinstance(action, Claim):
            if left <= unstarted_claims:
                continue
            left -= 1
        yield action


def _age(snapshot: Snapshot, job: Job) -> float:
    return snapshot.now - job.since


def _could_start(job: Job) -> bool:
    """Whether a Job could start its flow, or still end it, beside another Job of the run."""
    return (not job.started or job.deleting) and not job.phase.is_over


def runs_with_old_job(jobs: Iterable[Job], now: float, timings: Timings) -> set[str]:
    """Returns the runs that must not be claimed yet, because a Job of theirs could start."""
    grace = timings.deletion_grace
    return {job.run for job in jobs if _could_start(job) and not job.deletion_hangs(now, grace)}


def _is_own_unstarted(snapshot: Snapshot, run: Run) -> bool:
    """Whether this process claimed the run and has not seen its Job yet."""
    return (
        run.type == PENDING
        and run.attempt in snapshot.own_claims
        and run.attempt not in snapshot.jobs
        and run.attempt not in snapshot.final_states
    )


def _may_have_own_job(run: Run) -> bool:
    """Whether a Job of this process, which it has not seen yet, may have started a run that it has
    claimed. Leader or not, it takes a slot, so it is looked for."""
    return run.is_active and not run.attempt


def _newest_jobs(snapshot: Snapshot) -> Mapping[str, Job]:
    newest: dict[str, Job] = {}
    for job in snapshot.jobs.values():
        if job.run not in newest or job.since > newest[job.run].since:
            newest[job.run] = job
    return newest


def _observe(
    snapshot: Snapshot, run: Run, newest: Job | None, timings: Timings
) -> Iterator[Action]:
    """Yields what the leader does about one run."""
    if run.type == SCHEDULED and run.id in snapshot.ending:
        run = replace(run, attempt=snapshot.ending[run.id])
        if _has_ended(snapshot, run.attempt, timings):
            yield ReportFinalState(run, snapshot.final_states[run.attempt])
        return
    if not run.is_active:
        return
    job = snapshot.jobs.get(run.attempt) if run.attempt else newest
    final_state = snapshot.final_states.get(run.attempt)
    unreported = job is not None and not run.pid and _age(snapshot, job) >= timings.orphaned_after
    if not run.attempt and (job is None or _could_start(job) or unreported):
        yield ResolveClaim(run)
    elif final_state is not None and _has_ended(snapshot, run.attempt, timings):
        yield ReportFinalState(run, CANCELLED if run.type == CANCELLING else final_state)
    elif job is None:
        yield from _without_job(snapshot, run, timings)
    elif job.deleting and not job.phase.is_over:
        # A pod that is deleted while it pulls its image exists until the pull has ended.
        hangs = job.deletion_hangs(snapshot.now, timings.deletion_grace)
        if run.type == CANCELLING and (hangs or not job.started):
            yield ReportFinalState(run, CANCELLED)
        elif hangs:
            yield ReportFinalState(run, crashed(not_deleted(job, run)), job)
    elif run.type == CANCELLING:
        yield from _cancelling(snapshot, run, job, timings)
    elif ended := outcome(job, run, snapshot.now, timings):
        proposal = crashed(ended)
        yield (
            DeleteJob(job, run, proposal)
            if ended.delete_job
            else ReportFinalState(run, proposal, job)
        )
    elif unreported:
        yield FinishSetup(run, job)  # the worker that created it would have reported it by now


def _has_ended(snapshot: Snapshot, attempt: str, timings: Timings) -> bool:
    """Whether the deleted Job of an attempt is gone or over, or should have been for a while."""
    job = snapshot.jobs.get(attempt)
    if job is None or job.deletion_hangs(snapshot.now, timings.deletion_grace):
        return True
    return job.phase.is_over and job.since <= snapshot.now


def _without_job(snapshot: Snapshot, run: Run, timings: Timings) -> Iterator[Action]:
    """Yields what to do about a run of ours without a known Job; `pid` says if it ever had one."""
    missing = snapshot.now - snapshot.missing.get(run.id, snapshot.now)
    if run.type == CANCELLING:
        yield ReportFinalState(run, CANCELLED) if run.pid else CleanUpStart(run)
    elif run.type == PENDING and not run.pid:
        # However long the Job has been missing: before it is created, it is looked for.
        if snapshot.now - run.since >= timings.orphaned_after:
            yield Start(run, fresh=False)
    elif missing >= timings.vanished_after:
        yield ConfirmMissing(run, missing)


def _cancelling(snapshot: Snapshot, run: Run, job: Job, timings: Timings) -> Iterator[Action]:
    if job.phase.is_over:
        yield ReportFinalState(run, CANCELLED)
    elif (
        not job.started
        or job.restarts
        or job.limits.ignores_cancellation
        or snapshot.now - run.since >= timings.cancel_grace
    ):
        yield DeleteJob(job, run, CANCELLED)


def _orphaned_jobs(snapshot: Snapshot, timings: Timings) -> Iterator[Action]:
    """Yields deletions of Jobs that could still run although no run waits for them."""
    for attempt, job in snapshot.jobs.items():
        run = snapshot.runs.get(job.run)
        if job.phase.is_over or job.deleting or job.run in snapshot.in_flight:
            continue
        if run is None:
            if job.run in snapshot.deleted and not job.started:
                yield DeleteJob(job)
        elif job.restarts and (
            run.type in FINAL or run.foreign or run.attempt not in ("", attempt)
        ):
            yield DeleteJob(job, run)
        elif run.type == states.CANCELLED and job.started:
            if snapshot.now - run.since >= timings.cancel_grace:
                yield DeleteJob(job, run, CANCELLED)
        elif not job.started and (
            run.type in FINAL
            or (run.type == SCHEDULED and not run.in_process)
            or run.foreign
            or run.attempt not in ("", attempt)
        ):
            yield DeleteJob(job, run)


def _left_by_gone_owners(snapshot: Snapshot) -> Iterator[Action]:
    """Yields the ends of runs whose Jobs were where this worker was before."""
    for run in snapshot.runs.values():
        if (
            run.foreign
            and run.claim_owner in snapshot.gone_owners
            and run.is_active
            and run.id not in snapshot.in_flight
        ):
            final_state = CANCELLED if run.type == CANCELLING else crashed(WORKER_GONE)
            yield ReportFinalState(run, final_state)


def crashed(ended: Outcome) -> Proposal:
    """Returns the proposed state of a run that its Job could not finish."""
    return Proposal(states.CRASHED, "Crashed", ended.message, cause=ended.code)
