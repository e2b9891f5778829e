"""Tells the server what the UI shows of a run beside its state: where its job is, whose it is, its
log and its events. Nothing of it is needed to run a flow, and none of it ever fails a run.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deployctl.api.calls import Request
from deployctl.api.dialect import Dialect
from deployctl.api.driver import run_inline
from deployctl.api.session import Session
from deployctl.core.errors import ApiError, DeployctlError, ServerError, Unreachable
from deployctl.core.json_values import Json
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.model import Cause, Job, Phase, Run
from deployctl.worker.server import events, run_fields
from deployctl.worker.server.flow_logs import FlowLogs
from deployctl.worker.server.runs import one

_MOST = 2000
"""Events, and runs without labels, that may wait for the server; the oldest are lost first."""
_BATCH = 200
"""Events in one request: 2,000 at once cost the worker 10 MB, as text and as bytes."""


@dataclass(slots=True)
class RunReporter:
    """What happened to runs, for their owners. Used by many threads; raises no ApiError."""

    session: Session
    dialect: Dialect
    logs: FlowLogs
    worker: events.Worker
    owner: str
    event_log: EventLog
    clock: Callable[[], float]
    _start: Json = None
    _events: deque[Json] = field(default_factory=lambda: deque(maxlen=_MOST))
    _unlabelled: deque[Run] = field(default_factory=lambda: deque(maxlen=_MOST))

    def begins(self) -> None:
        """The worker has begun."""
        self._start = events.started(self.worker, self.clock())
        self.notice(self._start)

    def ends(self) -> None:
        """The worker ends: the last that it says."""
        self.notice(events.stopped(self.worker, self.clock(), self._start))
        self.flush()
        if self.logs.lost:
            self.event_log.emit(
                Level.WARNING,
                EventName.LOGS_DROPPED,
                f"{self.logs.lost} lines did not reach the server",
            )

    def say(self, run: Run, level: Level, text: str) -> None:
        """A line in the run's log."""
        self.logs.emit(run.id, level, text)

    def submitted(self, run: Run, job: Job) -> None:
        """The job of a run exists."""
        self.say(run, Level.INFO, f"Worker '{self.worker.name}' created job '{job.name}'.")
        if self.dialect.major >= 3:
            self._unlabelled.append(run)
        self.notice(events.submitted(self.worker, run, self.clock()))

    def located(self, run: Run, job: Job) -> bool:
        """Tells where the job of a run is; gives whether the server took it."""
        error = run_inline(run_fields.tell_pid(run, job.pid), self.session)
        self._note(error)
        return error is None

    def waits(self, run: Run, cause: Cause) -> None:
        """The job of a run cannot begin, and why."""
        self.explain(run, cause)
        try:
            now = run_inline(one(run.id, self.owner), self.session)
        except ApiError as error:
            self._note(error)
            return
        if now is not None and now.state_id == run.state_id:
            transition = str(uuid.uuid4())
            talk = run_fields.tell_waiting(run, self.owner, transition, self.dialect)
            self._note(run_inline(talk, self.session))

    def explain(self, run: Run, cause: Cause) -> None:
        """What is wrong with the job of a run."""
        self.say(run, Level.WARNING, f"{cause.message}. {cause.help}".strip())

    def executed(self, run: Run, job: Job) -> None:
        """The job of a run is over."""
        code = 0 if job.phase is Phase.SUCCEEDED else -1
        self.notice(events.executed(self.worker, run, job.since, pid=job.pid, code=code))

    def notice(self, event: Json) -> None:
        """An event for the server's log of events, which 2.20 does not have."""
        if self.dialect.major >= 3:
            self._events.append(event)

    def flush(self) -> None:
        """Sends what waits; what the server does not take now waits on, except the events of a
        request that failed."""
        for waiting in range(len(self._events), 0, -_BATCH):
            batch = [self._events.popleft() for _ in range(min(waiting, _BATCH))]
            if self._send(events.send(batch)):
                break
        self.logs.flush()
        while self._unlabelled:
            run = self._unlabelled.popleft()
            error = self._send(run_fields.label(run, self._labels()))
            if isinstance(error, (Unreachable, ServerError)):
                self._unlabelled.appendleft(run)
                break

    def _send(self, request: Request) -> DeployctlError | None:
        try:
            self.session.send(request, finish=True)
        except DeployctlError as error:
            self._note(error)
            return error
        return None

    def _labels(self) -> Mapping[str, str]:
        return {
            "prefect.worker.name": self.worker.name,
            "prefect.worker.type": self.worker.type,
            "prefect.work-pool.name": self.worker.pool_name,
            "prefect.work-pool.id": self.worker.pool,
        }

    def _note(self, error: DeployctlError | None) -> None:
        if isinstance(error, ApiError):
            self.event_log.emit(Level.DEBUG, EventName.REPORT_FAILED, str(error))
