"""Single-threaded reconcile loop: applies queued updates, computes actions, dispatches them.

Other threads only enqueue messages. At most MAX_IN_FLIGHT actions run at once, and more are
computed when one ends; so Jobs of claimed runs are created before further runs are claimed,
however many are due.
"""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from deployctl.api import states
from deployctl.api.states import ACTIVE
from deployctl.core.cancellation import CancellationToken
from deployctl.worker.control.actions import Action, Claim, run_id_of
from deployctl.worker.control.claim_order import MAX_IN_FLIGHT
from deployctl.worker.control.decide import decide, is_busy
from deployctl.worker.control.executor import ActionExecutor
from deployctl.worker.control.server_actions import Message
from deployctl.worker.control.slots import count_live_jobs, count_waiting_for_slot
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
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

_RESERVED = 4
"""Threads that claims leave free in a step that does not compare runs with Jobs."""
_OBSERVE_ALWAYS = 500
"""Number of runs up to which every step compares all of them with their Jobs."""

_PHASE_MESSAGES = {
    Phase.WAITING: "is waiting to start",
    Phase.RUNNING: "is running",
    Phase.SUCCEEDED: "succeeded",
    Phase.FAILED: "failed",
}
_END_EVENTS = {
    states.COMPLETED: EventName.RUN_COMPLETED,
    states.FAILED: EventName.RUN_FAILED,
    states.CRASHED: EventName.RUN_CRASHED,
    states.CANCELLED: EventName.RUN_CANCELLED,
}
_PHASE_EVENTS = {
    Phase.WAITING: EventName.JOB_WAITING,
    Phase.RUNNING: EventName.JOB_RUNNING,
    Phase.SUCCEEDED: EventName.JOB_SUCCEEDED,
    Phase.FAILED: EventName.JOB_FAILED,
}


@dataclass(slots=True)
class Reconciler:
    """Owner of the state store. Only `enqueue` may be called from other threads."""

    leadership: Leadership
    reporter: RunReporter
    event_log: EventLog
    metrics: Metrics
    now: Callable[[], float]
    """Seconds of the epoch by the server's clock."""
    worker: str
    limit: int | None
    """Largest number of live Jobs of this worker; None: unlimited."""
    shutdown_requested: CancellationToken
    """Once it is cancelled, no more runs are claimed."""
    timings: Timings = DEFAULT_TIMINGS
    store: StateStore = field(default_factory=StateStore)
    pool: Executor = field(default_factory=lambda: ThreadPoolExecutor(MAX_IN_FLIGHT, "action"))
    executor: ActionExecutor = field(init=False)
    """Set before the first step; it enqueues its findings here."""
    is_busy: bool = False
    """Whether a run waited for its claim or Job at the last step."""
    claims_wait: int = 0
    """How many more runs there were to be claimed at the last step than threads."""
    _observe_at: float = float("-inf")
    """When all runs are compared with their Jobs again, by the store's clock."""
    _observes: bool = True
    """Whether the last step did so."""
    _has_counted: bool = False
    """All Jobs and the claims of earlier processes were known once."""
    _summarized_at: float = float("-inf")
    _queue: queue.SimpleQueue[Message] = field(default_factory=queue.SimpleQueue)
    _reported_causes: dict[str, str] = field(default_factory=dict)
    """Attempt → code of the cause that was reported last."""

    def __post_init__(self) -> None:
        self.store.slot_waits.timings = self.timings

    def enqueue(self, message: Message) -> None:
        """Adds an update of the runtime or a change of the store; callable from any thread.

        Printed lines change no decision and are logged at once in the calling thread, so that a
        flood of output slows its reader down and not the loop.
        """
        if not isinstance(message, LinePrinted):
            self._queue.put(message)
            return
        job = self.store.jobs.get(message.attempt)
        fields = {"run": job.run, "name": self._name_of(job), "job": job.name} if job else {}
        self.event_log.emit(Level.INFO, EventName.JOB_OUTPUT, message.line, **fields)

    def step(self, watches: Sequence[WatchStatus]) -> None:
        """Waits up to `tick` seconds for messages, applies them, and dispatches what follows.

        `watches` are read before the messages: what was listed by then is among them.
        """
        synced = watches_synced(watches)
        for message in self._messages():
            self._apply(message)
        self._report_ended()
        slots = self._slots(synced)
        snapshot = self.store.snapshot(
            self.now(),
            slots=slots,
            claiming=not self.shutdown_requested.is_cancelled,
            is_leader=self.leadership.is_leader and self._observation_due(),
            watches_synced=synced,
        )
        actions = decide(snapshot, self.timings)
        self.is_busy = is_busy(snapshot, actions)
        self._dispatch_all(actions)
        self._summarize_waits()
        self.metrics.sample = self._sample(watches, slots)

    def _dispatch_all(self, actions: Sequence[Action]) -> None:
        """Dispatches as many actions as may run at once, and counts the claims that wait."""
        store, self.claims_wait = self.store, 0
        # A step that observes finds threads for what is more urgent than claims.
        observes = self._observes or not self.leadership.is_leader
        for_claims = MAX_IN_FLIGHT - (0 if observes else _RESERVED)
        claims = store.claim_order.at_once(store.clock())
        claims -= sum(run.id in store.in_flight for run in store.due)
        for action in actions:
            is_claim = isinstance(action, Claim)
            threads = for_claims if is_claim else MAX_IN_FLIGHT
            if len(store.in_flight) >= threads or (is_claim and claims <= 0):
                self.claims_wait += is_claim
            elif run_id_of(action) not in store.in_flight:
                claims -= is_claim
                self._dispatch(action)

    def _observation_due(self) -> bool:
        """Whether to compare all runs with their Jobs now: the more there are, the rarer."""
        now, timings, runs = self.store.clock(), self.timings, len(self.store.runs)
        self._observes = runs <= _OBSERVE_ALWAYS or now >= self._observe_at
        if self._observes:
            self._observe_at = now + runs * timings.observe_per_run
        return self._observes

    def _summarize_waits(self) -> None:
        """Logs how many runs wait for a concurrency slot, at most once per interval."""
        now = self.store.clock()
        if now - self._summarized_at >= self.timings.summary_interval and (
            text := self.store.slot_waits.summary(self.store.due)
        ):
            self._summarized_at = now
            self.event_log.emit(Level.INFO, EventName.RUNS_WAITING, text)

    @property
    def is_idle(self) -> bool:
        """Whether the store has nothing to do, and no message is queued."""
        return self.store.is_idle and self._queue.empty()

    def may_stop(self, end: float) -> bool:
        """Whether a worker that stops at `end` at the latest has nothing left to do until then; in
        seconds of the epoch by the server's clock."""
        return self.store.may_stop(end) and self._queue.empty()

    def close(self) -> None:
        """Starts no more actions; those in flight end by themselves."""
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _slots(self, synced: bool) -> int | None:
        """How many more Jobs `limit` allows, negative if there are too many already; none before
        all Jobs are listed and all claims read that an earlier process of this name may have left,
        at first not even for those claims.
        """
        if self.limit is None:
            return None
        if not (synced and self.store.claims.resumed):
            return 0 if self._has_counted else -len(self.store.claims.runs)
        self._has_counted = True
        hung_before = self.now() - self.timings.deletion_grace
        live = count_live_jobs(self.store, self.worker, hung_before)
        return self.limit - live

    def _sample(self, watches: Sequence[WatchStatus], slots: int | None) -> Sample:
        return Sample(
            jobs=Counter(job.phase for job in self.store.jobs.values()),
            due=len(self.store.due),
            waiting_for_slot=count_waiting_for_slot(self.store, slots),
            claims=len(self.store.claims.runs),
            queue=self._queue.qsize(),
            is_leader=self.leadership.is_leader,
            watches=tuple(watches),
        )

    def _messages(self) -> Iterator[Message]:
        try:
            yield self._queue.get(timeout=self._longest_wait())
            if self.timings.debounce:
                time.sleep(self.timings.debounce)
            while True:
                yield self._queue.get_nowait()
        except queue.Empty:
            return

    def _longest_wait(self) -> float:
        """Seconds until the next step if no message comes."""
        tick = self.timings.tick
        if self._observes or not self.leadership.is_leader:
            return tick
        return min(tick, max(0.0, self._observe_at - self.store.clock()))

    def _apply(self, message: Message) -> None:
        match message:
            case EventObserved(_, event):
                if self.leadership.is_leader:
                    self.reporter.add_event(event)
            case JobChanged() | JobsListed() | JobVanished():
                for before, job in self._changed_jobs(message):
                    self._report_change(before, job)
                self.store.apply(message)
            case _ if callable(message):
                message(self.store)

    def _changed_jobs(self, update: RuntimeUpdate) -> Iterator[tuple[Job | None, Job]]:
        jobs = (update.job,) if isinstance(update, JobChanged) else getattr(update, "jobs", ())
        for job in jobs:
            before = self.store.jobs.get(job.attempt)
            if before is None or (before.phase, before.cause) != (job.phase, job.cause):
                yield before, job

    def _report_change(self, before: Job | None, job: Job) -> None:
        """Logs a Job's new phase or cause; the leader also reports it to the server."""
        run = self.store.runs.get(job.run)
        was_over = before is None and job.phase.is_over
        if not was_over and (before is None or before.phase is not job.phase):
            waited = self.store.waited(job.attempt) if job.phase is not Phase.WAITING else None
            own_start = job.phase is Phase.RUNNING and job.worker == self.worker
            self.event_log.emit(
                Level.INFO,
                _PHASE_EVENTS[job.phase],
                f"job '{job.name}' {_PHASE_MESSAGES[job.phase]}",
                run=job.run,
                name=self._name_of(job),
                job=job.name,
                location=job.location,
                **({"delay": round(waited, 3)} if own_start and waited is not None else {}),
            )
        if run is None or not self.leadership.is_leader:
            return
        if job.phase.is_over and before is not None and not before.phase.is_over:
            reported = self._reported_causes.pop(job.attempt, "")
            if job.phase is Phase.FAILED and job.cause and job.cause.code != reported:
                self.reporter.log_cause(run, job.cause)
            self.reporter.job_finished(run, job)
        elif job.phase is Phase.WAITING and job.cause and not job.deleting and run.type in ACTIVE:
            self._report_delay(run, job, job.cause)

    def _report_ended(self) -> None:
        """Logs runs that have ended by themselves, as the leader alone: others see fewer.

        A run with an action in flight waits for its result: the action may have reported the end.
        """
        ended = [run for key, run in self.store.ended.items() if key not in self.store.in_flight]
        for run in ended:
            del self.store.ended[run.id]
        for run in ended if self.leadership.is_leader else ():
            event, text = _END_EVENTS[run.type], f"'{run.name}' ended as {run.state_name}"
            self.event_log.emit(Level.INFO, event, text, run=run.id, name=run.name)

    def _name_of(self, job: Job) -> str | None:
        """Name of a Job's run; None if the run is not known yet."""
        run = self.store.runs.get(job.run)
        return run.name if run else None

    def _report_delay(self, run: Run, job: Job, cause: Cause) -> None:
        """Reports why a Job does not start, once for as long as the cause stays the same."""
        if self._reported_causes.get(job.attempt) == cause.code:
            return
        known = self.store.jobs
        self._reported_causes = {a: code for a, code in self._reported_causes.items() if a in known}
        self._reported_causes[job.attempt] = cause.code
        self.event_log.emit(
            Level.WARNING,
            EventName.JOB_START_DELAYED,
            cause.message,
            run=run.id,
            name=run.name,
            job=job.name,
            cause=cause.code,
        )
        self.reporter.log_cause(run, cause)
        self.store.reports.add_delay(run, self.now())

    def _dispatch(self, action: Action) -> None:
        run_id = run_id_of(action)
        failures = self.store.failures.get(run_id, 0)
        self.store.begin(action)

        def execute() -> None:
            """Runs in a thread of the pool."""
            self.executor.execute(action, failures)
            self.enqueue(lambda store: store.end(action))

        self.pool.submit(execute)


def watches_synced(watches: Sequence[WatchStatus]) -> bool:
    """Whether all Jobs that can be listed have been listed.

    A location that the worker may not list holds nothing up: before a Job counts as missing, its
    location is asked, and that request fails there.
    """
    return any(watch.last_contact for watch in watches) and all(
        watch.last_contact or watch.forbidden for watch in watches
    )
