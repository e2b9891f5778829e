"""Reports runs to the server beside their state: Job location, labels, log lines and events.

This is the one place that writes what the UI shows about a run. None of it is needed to run a flow,
so no error of it ever fails a run; errors are logged at level DEBUG.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.dialect import Dialect, Version
from deployctl.api.driver import run_inline
from deployctl.api.session import Session
from deployctl.api.states import PENDING
from deployctl.core.errors import ApiError, DeployctlError, ServerError, Unreachable
from deployctl.core.json_values import Json
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.model import Cause, Job, Phase, Run
from deployctl.worker.server import events
from deployctl.worker.server.claim_marker import ClaimMarker, with_marker
from deployctl.worker.server.claims import Proposal, propose
from deployctl.worker.server.flow_logs import FlowLogs
from deployctl.worker.server.runs import read_run

_MAX_QUEUED = 2000
"""Events that may wait for the server; the oldest are dropped first."""
_BATCH = 200
"""Events per request: 2,000 at once cost the worker 10 MB, as text and as bytes."""
_PENDING_NAMES_SINCE: Version = (3, 6, 22)
"""First server that lets a PENDING state be replaced by one of another name; older ones abort."""


@dataclass(slots=True)
class RunReporter:
    """Reporter of runs. May be used by many threads; raises no ApiError."""

    session: Session
    dialect: Dialect
    logs: FlowLogs
    worker: events.WorkerIdentity
    owner: str
    event_log: EventLog
    clock: Callable[[], float]
    _started: Json = None
    """The event of the worker's start."""
    _events: deque[Json] = field(default_factory=lambda: deque(maxlen=_MAX_QUEUED))

    def worker_started(self) -> None:
        """Reports the start of the worker."""
        self._started = events.started(self.worker, self.clock())
        self.add_event(self._started)

    def worker_stopped(self) -> None:
        """Reports the end of the worker, and sends everything that is queued."""
        self.add_event(events.stopped(self.worker, self.clock(), self._started))
        self.flush()
        if self.logs.dropped:
            text = f"{self.logs.dropped} log lines did not reach the server"
            self.event_log.emit(Level.WARNING, EventName.LOGS_DROPPED, text)

    def log(self, run: Run, level: Level, text: str) -> None:
        """Adds a line to the run's log."""
        self.logs.emit(run.id, level, text)

    def log_cause(self, run: Run, cause: Cause) -> None:
        """Adds what is wrong with the run's Job to its log."""
        self.log(run, Level.WARNING, f"{cause.message}. {cause.help}".strip())

    def job_submitted(self, run: Run, job: Job) -> None:
        """Reports that the run's Job exists."""
        self.log(run, Level.INFO, f"Worker '{self.worker.name}' created job '{job.name}'.")
        self.add_event(events.submitted(self.worker, run, self.clock()))

    def job_finished(self, run: Run, job: Job) -> None:
        """Reports that the run's Job is over."""
        code = 0 if job.phase is Phase.SUCCEEDED else -1
        self.add_event(events.executed(self.worker, run, job.since, pid=job.pid, code=code))

    def report_job(self, run: Run, job: Job) -> bool:
        """Stores the Job's location as the run's infrastructure_pid, and the worker as its labels
        (3.x); returns False if that has to be tried again. A refused label is not.
        """
        error = run_inline(set_pid(run, job.pid), self.session)
        self._log_error(error)
        if error is None and self.dialect.major >= 3:
            refused = self._send(add_labels(run, self._labels()))
            error = refused if isinstance(refused, (Unreachable, ServerError)) else None
        return error is None

    def start_delayed(self, run: Run) -> None:
        """Reports in the name of the run's state that its Job does not start (3.x)."""
        if self.dialect.version < _PENDING_NAMES_SINCE:
            return
        try:
            now = run_inline(read_run(run.id, self.owner), self.session)
        except ApiError as error:
            self._log_error(error)
            return
        if now is not None and now.state_id == run.state_id:
            transition = str(uuid.uuid4())
            api_call = set_infrastructure_pending(run, self.owner, transition, self.dialect)
            self._log_error(run_inline(api_call, self.session))

    def add_event(self, event: Json) -> None:
        """Queue an event for the server's event log, which 2.20 does not have."""
        if self.dialect.major >= 3:
            self._events.append(event)

    def flush(self) -> None:
        """Sends what is queued. What the server does not take now stays queued, except the events
        of a request that failed.
        """
        for waiting in range(len(self._events), 0, -_BATCH):
            batch = [self._events.popleft() for _ in range(min(waiting, _BATCH))]
            if self._send(events.send(batch)):
                break
        self.logs.flush()

    def _send(self, request: Request) -> DeployctlError | None:
        try:
            self.session.send(request, finish=True)
        except DeployctlError as error:
            self._log_error(error)
            return error
        return None

    def _labels(self) -> Mapping[str, str]:
        return {
            "prefect.worker.name": self.worker.name,
            "prefect.worker.type": self.worker.type,
            "prefect.work-pool.name": self.worker.pool_name,
            "prefect.work-pool.id": self.worker.pool,
        }

    def _log_error(self, error: DeployctlError | None) -> None:
        if isinstance(error, ApiError):
            self.event_log.emit(Level.DEBUG, EventName.REPORT_FAILED, str(error))


def add_labels(run: Run, labels: Mapping[str, str]) -> Request:
    """Returns the request that adds labels to a run (3.x)."""
    return _patch(run, "/labels", labels)


def set_pid(run: Run, pid: str) -> ApiCall[ApiError | None]:
    """Stores the location of the run's Job, its infrastructure_pid; returns the error, if any."""
    try:
        yield from call(_patch(run, "", {"infrastructure_pid": pid}))
    except ApiError as error:
        return error
    return None


def set_infrastructure_pending(
    run: Run, owner: str, transition: str, dialect: Dialect
) -> ApiCall[ApiError | None]:
    """Names the state of a run whose Job does not start InfrastructurePending; returns the error.

    The state carries the claim's marker: if the run is SCHEDULED again by now, the server takes
    this for a claim, and the marker says whose it is. Only a run that is known as PENDING under a
    claim of ours is changed: the server would take a run that has ended back to PENDING, and the
    marker would take over a foreign claim.
    """
    if run.type != PENDING or not run.attempt or dialect.version < _PENDING_NAMES_SINCE:
        return None
    marker = ClaimMarker(owner, run.attempt, run.name)
    message = with_marker("The job is waiting to start.", marker)
    try:
        yield from propose(run, Proposal(PENDING, "InfrastructurePending", message), transition)
    except ApiError as error:
        return error
    return None


def _patch(run: Run, path: str, body: Mapping[str, str]) -> Request:
    return Request(
        "PATCH",
        f"{paths.flow_run(run.id)}{path}",
        dict(body),
        subject=f"flow run '{run.name}'",
        missing_ok=True,
    )
