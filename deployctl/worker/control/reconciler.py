"""The one thread that knows: it hears of runs and jobs, decides, and hands the work out.

Everybody else talks to it through its inbox. At most as many actions are under way as there are
hands, and the next ones are decided when one ends: so jobs of runs that are claimed are created
before more runs are claimed, however many are due.
"""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from deployctl.api.states import ACTIVE
from deployctl.core.cancellation import CancellationToken
from deployctl.worker.control.decide import Action, DeleteJob, decide
from deployctl.worker.control.executor import ActionExecutor, Message
from deployctl.worker.control.state_store import StateStore
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.health.metrics import Metrics, Sample
from deployctl.worker.model import (
    Cause,
    EventObserved,
    Job,
    JobChanged,
    JobsListed,
    JobVanished,
    Leadership,
    LinePrinted,
    Phase,
    Run,
    RuntimeUpdate,
    WatchStatus,
)
from deployctl.worker.server.run_reporter import RunReporter

HANDS = 16
TICK = 1.0
"""Seconds after which time alone may have made something due."""
_BREATH = 0.02
"""Seconds in which news gather, so that a storm of it is decided on once."""

_WORDS = {
    Phase.WAITING: "waits for its start",
    Phase.RUNNING: "runs",
    Phase.SUCCEEDED: "has ended well",
    Phase.FAILED: "has failed",
}

_PHASE_EVENTS = {
    Phase.WAITING: EventName.JOB_WAITING,
    Phase.RUNNING: EventName.JOB_RUNNING,
    Phase.SUCCEEDED: EventName.JOB_SUCCEEDED,
    Phase.FAILED: EventName.JOB_FAILED,
}


@dataclass(slots=True)
class Reconciler:
    """Owns the table, which others only read. Only `tell` may be called from other threads."""

    leadership: Leadership
    chronicle: RunReporter
    event_log: EventLog
    metrics: Metrics
    now: Callable[[], float]
    """The time by the server's clock."""
    worker: str
    limit: int | None
    stop: CancellationToken
    """Once it is asked for, nothing more is claimed."""
    table: StateStore = field(default_factory=StateStore)
    _inbox: queue.SimpleQueue[Message] = field(default_factory=queue.SimpleQueue)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(HANDS, "hand"))
    hands: ActionExecutor = field(init=False)
    """Set before the first step: they tell what they find out to this."""
    _explained: dict[str, str] = field(default_factory=dict)
    """The code of the cause that an attempt's owner was told last."""

    def emit(self, message: Message) -> None:
        """Takes news of the runtime, or an update of the table, from any thread.

        What a job prints decides nothing and is told on the spot: of more of it than can be told,
        its reader has to wait, and not the work.
        """
        if not isinstance(message, LinePrinted):
            self._inbox.put(message)
            return
        job = self.table.jobs.get(message.attempt)
        facts = {"run": job.run, "job": job.name} if job else {}
        self.event_log.emit(Level.INFO, EventName.JOB_OUTPUT, message.line, **facts)

    def step(self, watches: Sequence[WatchStatus]) -> None:
        """Hears what there is to hear, for a second at most, and does what follows.

        `watches`: how well the runtime heard until now: what was listed is among the messages.
        """
        hears = _hears(watches)
        for message in self._messages():
            self._hear(message)
        world = self.table.world(
            self.now(),
            slots=self._slots(hears),
            claiming=not self.stop.is_cancelled,
            is_leader=self.leadership.is_leader,
            hears=hears,
        )
        for action in decide(world)[: HANDS - len(self.table.in_flight)]:
            if _run_of(action) not in self.table.in_flight:
                self._hand_out(action)
        self.metrics.sample = self._sample(watches)

    def _slots(self, hears: bool) -> int | None:
        """How many more runs may be claimed. Only who hears of all jobs can count them: a worker
        that has just begun may have left some behind when it died.
        """
        if self.limit is None:
            return None
        return max(0, self.limit - self.table.live(self.worker)) if hears else 0

    def _sample(self, watches: Sequence[WatchStatus]) -> Sample:
        table = self.table
        return Sample(
            jobs=Counter(job.phase for job in table.jobs.values()),
            due=len(table.due),
            claims=len(table.own_claims),
            queue=self._inbox.qsize(),
            is_leader=self.leadership.is_leader,
            watches=tuple(watches),
        )

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, and nothing that was claimed waits for its job."""
        return not self.table.in_flight and not self.table.own_claims and self._inbox.empty()

    def close(self) -> None:
        """Lets hands that are at work end by themselves, and begins nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _messages(self) -> Iterator[Message]:
        try:
            yield self._inbox.get(timeout=TICK)
            time.sleep(_BREATH)
            while True:
                yield self._inbox.get_nowait()
        except queue.Empty:
            return

    def _hear(self, message: Message) -> None:
        match message:
            case EventObserved(_, event):
                if self.leadership.is_leader:
                    self.chronicle.notice(event)
            case JobChanged() | JobsListed() | JobVanished():
                for before, job in self._changes(message):
                    self._narrate(before, job)
                self.table.hear(message)
            case _ if callable(message):
                message(self.table)

    def _changes(self, news: RuntimeUpdate) -> Iterator[tuple[Job | None, Job]]:
        jobs = (news.job,) if isinstance(news, JobChanged) else getattr(news, "jobs", ())
        for job in jobs:
            before = self.table.jobs.get(job.attempt)
            if before is None or (before.phase, before.cause) != (job.phase, job.cause):
                yield before, job

    def _narrate(self, before: Job | None, job: Job) -> None:
        """Tells of a job that came into another phase, or waits for something."""
        run = self.table.runs.get(job.run)
        is_old = before is None and job.phase.is_over
        if not is_old and (before is None or before.phase is not job.phase):
            text = f"job '{job.name}' {_WORDS[job.phase]}"
            self.event_log.emit(
                Level.INFO,
                _PHASE_EVENTS[job.phase],
                text,
                run=job.run,
                job=job.name,
                location=job.location,
            )
        if run is None or not self.leadership.is_leader:
            return
        if job.phase.is_over and before is not None and not before.phase.is_over:
            told = self._explained.pop(job.attempt, "")
            if job.phase is Phase.FAILED and job.cause and job.cause.code != told:
                self.chronicle.explain(run, job.cause)
            self.chronicle.executed(run, job)
        elif job.phase is Phase.WAITING and job.cause and not job.deleting and run.type in ACTIVE:
            self._explain(run, job, job.cause)

    def _explain(self, run: Run, job: Job, cause: Cause) -> None:
        if self._explained.get(job.attempt) == cause.code:
            return
        there = self.table.jobs
        self._explained = {a: code for a, code in self._explained.items() if a in there}
        self._explained[job.attempt] = cause.code
        self.event_log.emit(
            Level.WARNING,
            EventName.JOB_START_DELAYED,
            cause.message,
            run=run.id,
            job=job.name,
            cause=cause.code,
        )
        self._pool.submit(self.chronicle.waits, run, cause)

    def _hand_out(self, action: Action) -> None:
        run_id = _run_of(action)
        self.table.in_flight.add(run_id)

        def work() -> None:
            self.hands.do(action, failures)
            self.emit(lambda table: table.in_flight.discard(run_id))

        failures = self.table.failures.get(run_id, 0)
        self._pool.submit(work)


def _hears(watches: Sequence[WatchStatus]) -> bool:
    """Whether all jobs were listed that can be. A place that refuses to be listed holds nobody up:
    before a job counts as gone, its place is asked, and that question fails there.
    """
    return any(watch.last_contact for watch in watches) and all(
        watch.last_contact or watch.forbidden for watch in watches
    )


def _run_of(action: Action) -> str:
    return action.job.run if isinstance(action, DeleteJob) else action.run.id
