"""What a worker does next: the difference between runs and jobs, as actions. Pure.

The only place that claims, starts, adopts, deletes and reports. It looks at what is, never at how
it came to be, so what a worker that died left behind is handled by the same rules as its own work.

Every action is bound to the state that it was decided on: whoever carries it out reads the run
again first, and does nothing if it has moved on. So a world that is seconds old is good enough.

| a run that is | and its job is               | action                                          |
|---------------|------------------------------|-------------------------------------------------|
| SCHEDULED     | not begun, of an old attempt | remove it: it could run beside the next one     |
| PENDING       | none                         | start it; where it was started once: CRASHED    |
| PENDING       | there, unknown to the server | settle it                                       |
| any active    | failed, or stuck too long    | CRASHED with the cause                          |
| any active    | over, and nothing was said   | CRASHED: it ended without a word                |
| RUNNING       | none                         | CRASHED: it vanished                            |
| CANCELLING    | not begun, deaf, or too slow | remove it, then CANCELLED                       |
| CANCELLING    | over, gone, never to begin   | CANCELLED                                       |
| CANCELLING    | none, and there never was    | abandon its start, then CANCELLED               |
| CANCELLED     | not begun, or running on     | remove it                                       |
| final         | not begun                    | remove it: it would bring the run back to life  |
| claimed anew  | not begun, of an old attempt | remove it, also where the claim is not ours     |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from deployctl.api.states import FINAL
from deployctl.worker.control.outcomes import Outcome, outcome
from deployctl.worker.model import Job, Run
from deployctl.worker.server.claims import Proposal

ORPHANED_AFTER = 15.0
"""Seconds after which a claim without a job is taken up by another worker. Taking it up too early
does no harm: the job's name is the same whoever creates it."""

VANISHED_AFTER = 20.0
"""Seconds for which a job must be missing: a list and the server's word are never of one moment."""

CANCEL_GRACE = 60.0
"""Seconds that a running job has to cancel itself: Prefect 2 asks every 10 s, and the processes of
a flow get 30 s to end."""

CANCELLED = Proposal("CANCELLED", "Cancelled", "The job of this run was stopped.", force=True)
"""Forced, because a run that is CANCELLING takes no other state, and 2.20 not even this one."""

FRESH_FOR = 2.0
"""Seconds for which an offer is believed: no run is claimed elsewhere and ends within them, and a
server lets a run that has ended be claimed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Take a scheduled run."""

    run: Run
    fresh: bool
    """The server offered it a moment ago, and it never had a job; else it is looked at first."""


@dataclass(frozen=True, slots=True)
class Start:
    """Create the job of a claimed run, whose attempt names it."""

    run: Run
    fresh: bool
    """The claim is this process's own; else, and after a try that failed, the run is read again
    first: a job may have come of it, and be over and gone."""


@dataclass(frozen=True, slots=True)
class ResolveClaim:
    """Find out under whose claim a run is, and look where its job would be."""

    run: Run


@dataclass(frozen=True, slots=True)
class FinishSetup:
    """Tell the server of a job whose worker died before it could."""

    run: Run
    job: Job


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a job; `fate` is what its run becomes when the job is gone."""

    job: Job
    run: Run | None = None
    final_state: Proposal | None = None


@dataclass(frozen=True, slots=True)
class ConfirmMissing:
    """Look for the job of a run where it would be, and report that it vanished if it has."""

    run: Run


@dataclass(frozen=True, slots=True)
class CleanUpStart:
    """Remove what a start may have left of the job of a cancelled run, and report that."""

    run: Run


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the server how a run ended."""

    run: Run
    proposal: Proposal
    job: Job | None = None
    """Where its last lines are to be had."""


Action: TypeAlias = (
    Claim | Start | ResolveClaim | FinishSetup | DeleteJob | ConfirmMissing | CleanUpStart | Report
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a worker knows at one moment."""

    now: float
    due: Sequence[Run] = ()
    """Scheduled runs that the server offers, in its order."""
    age: float = 0.0
    """Seconds since the server was asked for them."""
    runs: Mapping[str, Run] = field(default_factory=dict)
    """Active runs of the pool, and those of known jobs, by id."""
    jobs: Mapping[str, Job] = field(default_factory=dict)
    """By attempt."""
    missing: Mapping[str, float] = field(default_factory=dict)
    """Since when a run has been without its job, by run id, for runs whose place is listed."""
    final_states: Mapping[str, Proposal] = field(default_factory=dict)
    """What becomes of the runs of jobs that are being removed, by attempt."""
    own_claims: frozenset[str] = frozenset()
    """Attempts claimed by this process."""
    in_flight: frozenset[str] = frozenset()
    """Runs that a hand is at, or that have to wait before the next try."""
    slots: int | None = None
    """How many more jobs there may be; None: any number."""
    unstarted_claims: int = 0
    """Jobs that claims of other processes still want: they come before new claims."""
    claiming: bool = True
    is_leader: bool = True
    complete: bool = True
    """All runs and all jobs have been read since the start, and changes are being heard of."""
    deleted: frozenset[str] = frozenset()
    """Runs of known jobs that the server does not have any more."""


def decide(world: Snapshot) -> list[Action]:
    """What to do now, the most urgent first and claims in the order of the server.

    Where there are several actions for a run, as for a claim and a job of an earlier attempt, each
    waits for the one before.
    """
    free = {
        key: run
        for key, run in world.runs.items()
        if key not in world.in_flight and not run.foreign
    }
    actions: list[Action] = [
        Start(run, fresh=True) for run in free.values() if _waits_for_us(world, run)
    ]
    if world.is_leader and world.complete:
        newest = _newest_jobs(world)
        for run in free.values():
            actions += _observe(world, run, newest.get(run.id))
        actions += _strays(world)
    if world.claiming:
        waiting = {job.run for job in world.jobs.values() if _could_begin(job)}
        due = [run for run in world.due if run.id not in world.in_flight | waiting]
        young = world.age < FRESH_FOR
        actions += [Claim(run, fresh=young and not run.pid) for run in due]
    return list(_within(actions, world.slots, world.unstarted_claims))


def _within(
    actions: Iterable[Action], slots: int | None, unstarted_claims: int
) -> Iterator[Action]:
    """The actions without those that would make for more new jobs than `slots`: claims, and the
    jobs of claims that another process left behind. One's own claims have their slots already.
    """
    left = float("inf") if slots is None else slots
    for action in actions:
        if isinstance(action, Start) and not action.fresh:
            if left <= 0:
                continue
            left, unstarted_claims = left - 1, max(0, unstarted_claims - 1)
        elif isinstance(action, Claim):
            if left <= unstarted_claims:
                continue
            left -= 1
        yield action


def _could_begin(job: Job) -> bool:
    """Whether a job could begin its run beside another one of that run."""
    return not job.started and not job.phase.is_over


def _waits_for_us(world: Snapshot, run: Run) -> bool:
    """Whether this process has claimed the run and has not seen its job yet."""
    return (
        run.type == "PENDING"
        and run.attempt in world.own_claims
        and run.attempt not in world.jobs
        and run.attempt not in world.final_states
    )


def _newest_jobs(world: Snapshot) -> Mapping[str, Job]:
    newest: dict[str, Job] = {}
    for job in world.jobs.values():
        if job.run not in newest or job.since > newest[job.run].since:
            newest[job.run] = job
    return newest


def _observe(world: Snapshot, run: Run, newest: Job | None) -> Iterator[Action]:
    """The rules for one run: what a leader does about it."""
    if run.type not in ("PENDING", "RUNNING", "CANCELLING") or _waits_for_us(world, run):
        return
    job = world.jobs.get(run.attempt) if run.attempt else newest
    final_state = world.final_states.get(run.attempt)
    if not run.attempt and (job is None or _could_begin(job)):
        yield ResolveClaim(run)
    elif job is None and final_state is not None:
        yield Report(run, final_state)
    elif job is None:
        yield from _without_job(world, run)
    elif job.deleting:
        # A pod that is deleted while it pulls its image is there until the pull has ended.
        if run.type == "CANCELLING" and not job.started:
            yield Report(run, CANCELLED)
    elif run.type == "CANCELLING":
        yield from _cancelling(world, run, job)
    elif ended := outcome(job, run, world.now):
        proposal = crashed(ended)
        yield DeleteJob(job, run, proposal) if ended.remove else Report(run, proposal, job)
    elif run.type == "PENDING" and not run.pid:
        yield FinishSetup(run, job)


def _without_job(world: Snapshot, run: Run) -> Iterator[Action]:
    """A run of ours whose job is not to be seen. `pid` tells whether there ever was one."""
    missing = world.now - world.missing.get(run.id, world.now)
    if run.type == "CANCELLING":
        yield Report(run, CANCELLED) if run.pid else CleanUpStart(run)
    elif run.type == "PENDING" and not run.pid:
        if min(missing, world.now - run.since) >= ORPHANED_AFTER:
            yield Start(run, fresh=False)
    elif missing >= VANISHED_AFTER:
        yield ConfirmMissing(run)


def _cancelling(world: Snapshot, run: Run, job: Job) -> Iterator[Action]:
    if job.phase.is_over:
        yield Report(run, CANCELLED)
    elif (
        not job.started or job.limits.ignores_cancellation or world.now - run.since >= CANCEL_GRACE
    ):
        yield DeleteJob(job, run, CANCELLED)


def _strays(world: Snapshot) -> Iterator[Action]:
    """Jobs that could still run although nothing waits for them any more."""
    for attempt, job in world.jobs.items():
        run = world.runs.get(job.run)
        if job.phase.is_over or job.deleting or job.run in world.in_flight:
            continue
        if run is None:
            if job.run in world.deleted and not job.started:
                yield DeleteJob(job)
        elif run.type == "CANCELLED" and job.started:
            if world.now - run.since >= CANCEL_GRACE:
                yield DeleteJob(job, run)
        elif not job.started and (
            run.type in (*FINAL, "SCHEDULED") or run.foreign or run.attempt not in ("", attempt)
        ):
            yield DeleteJob(job, run)


def crashed(ended: Outcome) -> Proposal:
    """The state of a run whose job could not carry it to an end."""
    return Proposal("CRASHED", "Crashed", ended.message, cause=ended.code)
