"""A worker without threads, clocks and networks.

The service's poll and sync, the reconciler, the executor and the reporter are real; each step is
taken when a test wants it. A worker crashes by an exception that nothing catches. Faults and events
of others happen inside its requests, so that any order of two actions can be produced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from deployctl.api.calls import Request, call
from deployctl.api.dialect import Dialect
from deployctl.api.driver import run_inline
from deployctl.api.session import Session
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import ApiError, LostResponse, NotFound, ServerError
from deployctl.core.json_values import Json
from deployctl.jobs.model import JobSpec, Limits
from deployctl.worker.control.executor import ActionExecutor
from deployctl.worker.control.reconciler import Reconciler
from deployctl.worker.control.server_actions import Message
from deployctl.worker.control.state_store import StateStore
from deployctl.worker.event_log import EventName, Level
from deployctl.worker.health.health_state import HealthMonitor
from deployctl.worker.model import (
    JobChanged,
    JobsListed,
    Run,
    RuntimeUpdate,
    WatchStatus,
)
from deployctl.worker.server.events import WorkerIdentity
from deployctl.worker.server.flow_logs import FlowLogs
from deployctl.worker.server.job_specs import JobSpecBuilder
from deployctl.worker.server.run_reporter import RunReporter
from deployctl.worker.service import Service
from deployctl.worker.settings import WorkerSettings, WorkOptions
from deployctl.worker.timings import Timings
from tests.unit.worker.fault_injection import FaultInjector
from tests.unit.worker.simulated_cluster import OWNER, SimulatedCluster, SimulatedRuntime
from tests.unit.worker.simulated_server import DEPLOYMENT, POOL, Missing, SimulatedServer

if TYPE_CHECKING:
    from tests.unit.worker.simulation import Simulation

T = TypeVar("T")
_IMMEDIATE = Timings(tick=0.0, debounce=0.0)
_NO_PREFETCH = WorkerSettings(prefetch_seconds=0.0)


@dataclass(slots=True)
class SimulatedSession:
    """The API session of a worker."""

    injector: FaultInjector
    server: SimulatedServer

    def server_clock(self) -> float:
        return self.server.clock.now

    def send(self, request: Request, *, finish: bool = False) -> Json:  # noqa: ARG002
        def missing() -> Json:
            if request.missing_ok:
                return None
            raise NotFound("not found", status=404)

        def execute() -> Json:
            self.injector.simulation.check_request(request)
            try:
                return self.server.answer(request)
            except Missing:
                return missing()

        claims = request.path.endswith("/set_state") and request.body["state"]["name"] == "Pending"
        lost: ApiError = ServerError("status 500", status=500)
        if not request.idempotent:
            lost = LostResponse("status 500", status=500)
        return self.injector.request(
            execute, lost, missing, atomic=claims, repeatable=request.idempotent
        )


@dataclass(slots=True)
class SimulatedJobSpecs:
    """Builds job specs as `JobSpecBuilder` does: reads the deployment of a run first."""

    session: Session
    worker: str
    limits: Limits
    pool: Json = field(default_factory=lambda: {"id": POOL, "name": POOL})
    offered: dict[str, Json] = field(default_factory=dict)

    def __call__(self, run: Run) -> JobSpec:
        run_inline(call(Request("GET", f"/deployments/{DEPLOYMENT}")), self.session)
        return JobSpec(
            run=run.id,
            attempt=run.attempt,
            pool=POOL,
            name=f"{run.name}-{run.attempt}",
            worker=self.worker,
            configuration={},
            command=(),
            env={},
            limits=self.limits,
        )


@dataclass(slots=True)
class InternalErrors:
    """Event log that keeps what must never happen: defects of the worker."""

    found: list[str]

    def emit(self, level: Level, event: EventName, message: str = "", **_: Json) -> None:  # noqa: ARG002
        if event is EventName.WORKER_INTERNAL_ERROR:
            self.found.append(message)


class ManualPool(Executor):
    """Thread pool whose tasks run when a test says so."""

    def __init__(self) -> None:
        self.pending: deque[Callable[[], object]] = deque()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        self.pending.append(partial(fn, *args, **kwargs))
        return Future()


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker is made of; a simulation in virtual time takes others."""

    pool: Callable[[], ManualPool] = ManualPool
    session: Callable[[FaultInjector, SimulatedServer], SimulatedSession] = SimulatedSession
    runtime: Callable[[FaultInjector, SimulatedCluster], SimulatedRuntime] = SimulatedRuntime
    queue: Callable[[], SimpleQueue[Message]] = SimpleQueue
    timings: Timings = _IMMEDIATE
    settings: WorkerSettings = _NO_PREFETCH


@dataclass(slots=True)
class SimulatedLeadership:
    """Leadership that a test assigns."""

    is_leader: bool

    def campaign(self, stop: CancellationToken) -> None:
        raise NotImplementedError("a test elects the leader")


class SimulatedWorker:
    """One process of a worker: what it loses when it crashes."""

    def __init__(
        self,
        simulation: Simulation,
        name: str,
        salt: UUID,
        *,
        is_leader: bool,
        parts: Parts | None = None,
    ) -> None:
        server, clock = simulation.server, simulation.clock
        parts = parts or Parts()
        self.injector = FaultInjector(simulation)
        self.leadership = SimulatedLeadership(is_leader)
        self.delivered = 0
        """How many of the cluster's updates were delivered, plus 1; 0 before the first list."""
        self._cluster = simulation.cluster
        self._clock = clock
        self._pool = parts.pool()
        session = cast("Session", parts.session(self.injector, server))
        self.runtime = runtime = parts.runtime(self.injector, simulation.cluster)
        self._listed: set[str] = set()
        job_specs = SimulatedJobSpecs(session, name, simulation.limits)
        event_log = InternalErrors(simulation.violations)
        reporter = RunReporter(
            session=session,
            dialect=Dialect((3, 8, 8) if server.major == 3 else (2, 20, 26)),
            logs=FlowLogs(session.send, session.server_clock, enabled=False),
            worker=WorkerIdentity(name, "kubernetes", POOL, POOL),
            owner=OWNER,
            event_log=event_log,
            clock=session.server_clock,
        )
        self.reconciler = Reconciler(
            leadership=self.leadership,
            reporter=reporter,
            event_log=event_log,
            metrics=simulation.metrics,
            now=session.server_clock,
            worker=name,
            limit=simulation.limit,
            shutdown_requested=CancellationToken(),
            timings=parts.timings,
            store=StateStore(clock=lambda: clock.now),
            pool=self._pool,
            _queue=parts.queue(),
        )
        self.reconciler.executor = ActionExecutor(
            session=session,
            runtime=runtime,
            build_spec=job_specs,
            reporter=reporter,
            event_log=event_log,
            notify=self.reconciler.enqueue,
            worker=name,
            crash_log_lines=1,
            clock=lambda: clock.now,
            salt=salt,
        )
        self.service = Service(
            options=WorkOptions(POOL, name),
            settings=parts.settings,
            session=session,
            heartbeat_session=session,
            runtime=runtime,
            leadership=self.leadership,
            job_specs=cast("JobSpecBuilder", job_specs),
            reporter=reporter,
            reconciler=self.reconciler,
            monitor=HealthMonitor(),
            event_log=event_log,
            shutdown_requested=CancellationToken(),
            loops_cancelled=CancellationToken(),
            timings=parts.timings,
            clock=lambda: clock.now,
        )

    @property
    def store(self) -> StateStore:
        return self.reconciler.store

    @property
    def is_up_to_date(self) -> bool:
        """Whether every update of the cluster has been applied."""
        delivered = self.delivered == len(self._cluster.updates) + 1
        return delivered and self.reconciler._queue.empty()

    def poll(self) -> None:
        self.service.poll()

    def sync(self) -> None:
        self.service.sync()

    def deliver_updates(self) -> None:
        """Deliver updates of Jobs: a list of all at first, then every change."""
        updates: Sequence[RuntimeUpdate] = self._cluster.updates[self.delivered - 1 :]
        if not self.delivered:
            updates, self._listed = (), set()
        self._listed -= self._cluster.refused
        for update in updates:
            if not isinstance(update, JobChanged) or update.job.location in self._listed:
                self.reconciler.enqueue(update)
        self.runtime.forget_refused()
        for scope in sorted(self.runtime.scopes - self._cluster.refused - self._listed):
            jobs = tuple(job for job in self._cluster.jobs.values() if job.location == scope)
            self.reconciler.enqueue(JobsListed(scope, jobs, self._clock.now))
            self._listed.add(scope)
        self.delivered = len(self._cluster.updates) + 1

    def relist(self) -> None:
        """Deliver a list of all Jobs, as after a watch that broke."""
        self.delivered = 0
        self.deliver_updates()

    def reconcile(self) -> None:
        """Take one reconcile step."""
        refused = self._cluster.refused
        self.reconciler.step(
            [
                WatchStatus(scope, float(scope in self._listed), forbidden=scope in refused)
                for scope in sorted(self.runtime.scopes)
            ]
        )

    def execute_one(self) -> None:
        """Execute the action that was dispatched first."""
        if self._pool.pending:
            self._pool.pending.popleft()()

    def run_all(self) -> None:
        """Do everything that a worker does, until nothing is left to do at this moment."""
        self.deliver_updates()
        self.poll()
        self.sync()
        self.reconcile()
        while self._pool.pending:
            while self._pool.pending:
                self.execute_one()
            self.deliver_updates()
            self.reconcile()
