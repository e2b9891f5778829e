"""A worker without threads, clocks and networks, and the cluster that it works with.

The service's poll and sync, the reconciler, the executor and the reporter are real; each step is
taken when a test wants it. A worker crashes by an exception that nothing catches. Faults and events
of others happen inside its requests, so that any order of two actions can be produced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast
from uuid import UUID

from deployctl.api.calls import Request, call
from deployctl.api.dialect import Dialect
from deployctl.api.driver import run_inline
from deployctl.api.session import Session
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import DeployctlError, NotFound, ServerError
from deployctl.core.json_values import Json
from deployctl.jobs.model import JobSpec
from deployctl.worker.control.executor import ActionExecutor
from deployctl.worker.control.reconciler import Reconciler
from deployctl.worker.control.state_store import StateStore
from deployctl.worker.event_log import EventName, Level
from deployctl.worker.health.health_state import HealthMonitor
from deployctl.worker.model import (
    Emit,
    Job,
    JobChanged,
    JobsListed,
    JobVanished,
    Phase,
    Run,
    RuntimeUnavailable,
    RuntimeUpdate,
    WatchStatus,
)
from deployctl.worker.server.events import Worker
from deployctl.worker.server.flow_logs import FlowLogs
from deployctl.worker.server.job_specs import JobSpecBuilder
from deployctl.worker.server.run_reporter import RunReporter
from deployctl.worker.service import Service
from deployctl.worker.settings import WorkerSettings, WorkOptions
from deployctl.worker.timings import Timings
from tests.unit.worker.simulated_server import DEPLOYMENT, POOL, Clock, Missing, SimulatedServer

if TYPE_CHECKING:
    from tests.unit.worker.simulation import Simulation

T = TypeVar("T")
LOCATION = "location"
OWNER = "owner"


class Fault(Enum):
    """What goes wrong with one request of a worker."""

    REPEATED = auto()
    """It is sent twice, because the first response was lost."""
    NOT_RECEIVED = auto()
    """It never arrives."""
    RESPONSE_LOST = auto()
    """It is carried out, and the response is lost."""
    NOT_FOUND = auto()
    """404, although the object exists."""
    CRASH_BEFORE = auto()
    """The worker dies before it is sent."""
    CRASH_AFTER = auto()
    """The worker dies after it was carried out."""


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """These events happen before the request arrives."""

    events: Sequence[Event]


Event: TypeAlias = tuple[Any, ...]
"""The name of a method of `Simulation`, and its arguments."""
Injection: TypeAlias = Fault | Meanwhile | None
"""What happens to one request."""


class Crash(BaseException):
    """The worker process dies in the middle of an action."""


@dataclass(slots=True)
class FaultInjector:
    """Passes on all requests of one worker, with the injections that a test has queued."""

    simulation: Simulation
    injections: list[Injection] = field(default_factory=list)
    """For the next requests, in order."""

    def request(
        self,
        execute: Callable[[], T],
        lost: DeployctlError,
        missing: Callable[[], T],
        *,
        atomic: bool = False,
    ) -> T:
        """Execute a request with the next injection; `atomic`: no events happen before it."""
        injected = self.injections.pop(0) if self.injections else None
        if isinstance(injected, Meanwhile) and not atomic:
            injections, self.injections = self.injections, []
            for event in injected.events:
                self.simulation.do(event)
            self.injections = injections
        if injected is Fault.CRASH_BEFORE:
            raise Crash
        if injected is Fault.NOT_RECEIVED:
            raise lost
        if injected is Fault.NOT_FOUND:
            return missing()
        if injected is Fault.REPEATED:
            execute()
        result = execute()
        if injected is Fault.CRASH_AFTER:
            raise Crash
        if injected is Fault.RESPONSE_LOST:
            raise lost
        return result


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
        lost = ServerError("status 500", status=500)
        return self.injector.request(execute, lost, missing, atomic=claims)


@dataclass(slots=True)
class SimulatedCluster:
    """Jobs of the pool, and the history of their updates."""

    clock: Clock
    jobs: dict[str, Job] = field(default_factory=dict)
    """By name."""
    updates: list[RuntimeUpdate] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    """Attempts of all Jobs that were ever created."""
    started: set[str] = field(default_factory=set)
    """Attempts whose flow has started."""
    duplicates: list[str] = field(default_factory=list)
    """Attempts that had a Job, or had started, when another Job was created."""
    leftovers: set[str] = field(default_factory=set)
    """Names of Jobs that were prepared and do not exist."""

    def prepare(self, name: str) -> None:
        """Create what a Job needs, such as its Secret: it is deleted with the Job."""
        if name not in self.jobs:
            self.leftovers.add(name)

    def create(self, name: str, spec: JobSpec) -> Job:
        if name not in self.jobs:
            if spec.attempt in self.started or self.jobs_of(spec.attempt):
                self.duplicates.append(spec.attempt)
            self.created.append(spec.attempt)
            self.leftovers.discard(name)
            self.put(
                Job(
                    run=spec.run,
                    attempt=spec.attempt,
                    name=name,
                    location=LOCATION,
                    pid=f"{LOCATION}:{name}",
                    worker=spec.worker,
                    phase=Phase.WAITING,
                    since=self.clock.now,
                )
            )
        return self.jobs[name]

    def put(self, job: Job) -> None:
        self.jobs[job.name] = job
        self.updates.append(JobChanged(job))

    def delete(self, name: str) -> None:
        """Request the deletion of a Job, which takes time."""
        if job := self.jobs.get(name):
            self.put(replace(job, deleting=True))

    def remove(self, name: str) -> None:
        job = self.jobs.pop(name)
        self.updates.append(JobVanished(job.attempt))

    def jobs_of(self, attempt: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.attempt == attempt]


@dataclass(slots=True)
class SimulatedRuntime:
    """The runtime of one worker."""

    injector: FaultInjector
    cluster: SimulatedCluster
    owner: str = OWNER

    def start(self, spec: JobSpec) -> Job:
        self._request(lambda: self.cluster.prepare(spec.name))
        return self._request(lambda: self.cluster.create(spec.name, spec))

    def stop(self, job: Job) -> None:
        self._request(lambda: self.cluster.delete(job.name))

    def finish_setup(self, job: Job) -> None:  # noqa: ARG002
        self._request(lambda: None)

    def find(
        self,
        attempt: str,
        spec: JobSpec | None = None,  # noqa: ARG002
        pid: str = "",  # noqa: ARG002
    ) -> Job | None:
        return self._request(lambda: next(iter(self.cluster.jobs_of(attempt)), None))

    def clean_up(self, spec: JobSpec) -> None:
        self._request(lambda: self.cluster.leftovers.discard(spec.name))

    def tail_logs(self, job: Job, lines: int) -> Sequence[str]:
        return self._request(lambda: [f"{lines} lines of {job.name}"])

    def watch(self, emit: Emit, stop: CancellationToken) -> None:
        raise NotImplementedError("a test delivers the updates")

    def watch_statuses(self) -> Iterable[WatchStatus]:
        return ()

    def _request(self, execute: Callable[[], T]) -> T:
        def refused() -> T:
            raise RuntimeUnavailable("refused")

        return self.injector.request(execute, RuntimeUnavailable("overloaded"), refused)


@dataclass(slots=True)
class SimulatedJobSpecs:
    """Builds job specs as `JobSpecBuilder` does: reads the deployment of a run first."""

    session: Session
    worker: str
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


@dataclass(slots=True)
class SimulatedLeadership:
    """Leadership that a test assigns."""

    is_leader: bool

    def campaign(self, stop: CancellationToken) -> None:
        raise NotImplementedError("a test elects the leader")


class SimulatedWorker:
    """One process of a worker: what it loses when it crashes."""

    def __init__(self, simulation: Simulation, name: str, salt: UUID, *, is_leader: bool) -> None:
        server, clock = simulation.server, simulation.clock
        self.injector = FaultInjector(simulation)
        self.leadership = SimulatedLeadership(is_leader)
        self.delivered = 0
        """How many of the cluster's updates were delivered, plus 1; 0 before the first list."""
        self._cluster = simulation.cluster
        self._clock = clock
        self._pool = ManualPool()
        session = cast("Session", SimulatedSession(self.injector, server))
        runtime = SimulatedRuntime(self.injector, simulation.cluster)
        job_specs = SimulatedJobSpecs(session, name)
        event_log = InternalErrors(simulation.violations)
        reporter = RunReporter(
            session=session,
            dialect=Dialect((3, 8, 8) if server.major == 3 else (2, 20, 26)),
            logs=FlowLogs(session.send, session.server_clock, enabled=False),
            worker=Worker(name, "kubernetes", POOL, POOL),
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
            limit=None,
            shutdown_requested=CancellationToken(),
            timings=Timings(tick=0.0, debounce=0.0),
            store=StateStore(clock=lambda: clock.now),
            pool=self._pool,
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
            salt=salt,
        )
        self._service = Service(
            options=WorkOptions(POOL, name),
            settings=WorkerSettings(prefetch_seconds=0.0),
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
        self._service.poll()

    def sync(self) -> None:
        self._service.sync()

    def deliver_updates(self) -> None:
        """Deliver updates of Jobs: a list of all at first, then every change."""
        updates: Sequence[RuntimeUpdate] = self._cluster.updates[self.delivered - 1 :]
        if not self.delivered:
            jobs = tuple(self._cluster.jobs.values())
            updates = [JobsListed(LOCATION, jobs, self._clock.now)]
        for update in updates:
            self.reconciler.enqueue(update)
        self.delivered = len(self._cluster.updates) + 1

    def relist(self) -> None:
        """Deliver a list of all Jobs, as after a watch that broke."""
        self.delivered = 0
        self.deliver_updates()

    def reconcile(self) -> None:
        """Take one reconcile step."""
        self.reconciler.step([WatchStatus(LOCATION, float(self.delivered > 0))])

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
