"""A worker of which each step is taken when a test wants it, and the cluster that it works with.

Real are the table, `decide`, the hands and the chronicle; threads, clocks and networks are not. A
worker dies by an exception that nothing catches. What happens during one of its requests is done
within that request, so that every order of two actions can be had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
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
from deployctl.worker.control.decide import Action, DeleteJob, decide
from deployctl.worker.control.executor import ActionExecutor, Message
from deployctl.worker.control.state_store import StateStore
from deployctl.worker.event_log import Level
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
from deployctl.worker.server.events import Worker as WorkerName
from deployctl.worker.server.flow_logs import FlowLogs
from deployctl.worker.server.run_reporter import RunReporter
from deployctl.worker.server.runs import active, by_ids, due, run_of
from tests.unit.worker.simulated_server import DEPLOYMENT, POOL, Clock, Missing, Server

if TYPE_CHECKING:
    from tests.unit.worker.simulation import World

T = TypeVar("T")
PLACE = "place"
OWNER = "owner"


class Fault(Enum):
    """What befalls one request of a worker."""

    REPEATED = auto()
    """It is sent twice, because the first answer was lost."""
    UNHEARD = auto()
    UNANSWERED = auto()
    """It is carried out, and nobody hears of it."""
    MISSING = auto()
    """404, although the thing is there."""
    DEATH_BEFORE = auto()
    DEATH_AFTER = auto()


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Something else happens before the request arrives."""

    events: Sequence[Event]


Event: TypeAlias = tuple[Any, ...]
"""The name of a method of `World`, and what it takes."""
Befalls: TypeAlias = Fault | Meanwhile | None


class Death(BaseException):
    """The end of a worker in the middle of an action."""


@dataclass(slots=True)
class Wire:
    """The way of one worker to everything outside of it."""

    world: World
    ahead: list[Befalls] = field(default_factory=list)

    def carry(
        self,
        deed: Callable[[], T],
        lost: DeployctlError,
        missing: Callable[[], T],
        *,
        instant: bool = False,
    ) -> T:
        """Does a request, with whatever comes next in between; `instant`: nothing does."""
        what = self.ahead.pop(0) if self.ahead else None
        if isinstance(what, Meanwhile) and not instant:
            ahead, self.ahead = self.ahead, []
            for event in what.events:
                self.world.do(event)
            self.ahead = ahead
        if what is Fault.DEATH_BEFORE:
            raise Death
        if what is Fault.UNHEARD:
            raise lost
        if what is Fault.MISSING:
            return missing()
        if what is Fault.REPEATED:
            deed()
        result = deed()
        if what is Fault.DEATH_AFTER:
            raise Death
        if what is Fault.UNANSWERED:
            raise lost
        return result


@dataclass(slots=True)
class Line:
    """The session of a worker."""

    wire: Wire
    server: Server

    def server_clock(self) -> float:
        return self.server.clock.now

    def send(self, request: Request, *, finish: bool = False) -> Json:  # noqa: ARG002
        def missing() -> Json:
            if request.missing_ok:
                return None
            raise NotFound("not found", status=404)

        def deed() -> Json:
            self.wire.world.watch(request)
            try:
                return self.server.answer(request)
            except Missing:
                return missing()

        claims = request.path.endswith("/set_state") and request.body["state"]["name"] == "Pending"
        lost = ServerError("status 500", status=500)
        return self.wire.carry(deed, lost, missing, instant=claims)


@dataclass(slots=True)
class Cluster:
    """Jobs of the pool, and all that was ever to be heard of them."""

    clock: Clock
    jobs: dict[str, Job] = field(default_factory=dict)
    """By name."""
    news: list[RuntimeUpdate] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    """The attempts of all jobs that there ever were."""
    begun: set[str] = field(default_factory=set)
    """The attempts whose flow has begun."""
    doubled: list[str] = field(default_factory=list)
    """The attempts that had a job, or had begun, when a job was created."""
    leftovers: set[str] = field(default_factory=set)
    """What was made for jobs, by name, that have not come."""

    def prepare(self, name: str) -> None:
        """Makes what a job needs, as its Secret: it goes with the job, once there is one."""
        if name not in self.jobs:
            self.leftovers.add(name)

    def create(self, name: str, spec: JobSpec) -> Job:
        if name not in self.jobs:
            if spec.attempt in self.begun or self.of(spec.attempt):
                self.doubled.append(spec.attempt)
            self.created.append(spec.attempt)
            self.leftovers.discard(name)
            self.put(
                Job(
                    run=spec.run,
                    attempt=spec.attempt,
                    name=name,
                    location=PLACE,
                    pid=f"{PLACE}:{name}",
                    worker=spec.worker,
                    phase=Phase.WAITING,
                    since=self.clock.now,
                )
            )
        return self.jobs[name]

    def put(self, job: Job) -> None:
        self.jobs[job.name] = job
        self.news.append(JobChanged(job))

    def delete(self, name: str) -> None:
        """Asks for the deletion of a job; one that has something running takes its time."""
        if job := self.jobs.get(name):
            self.put(replace(job, deleting=True))

    def gone(self, name: str) -> None:
        job = self.jobs.pop(name)
        self.news.append(JobVanished(job.attempt))

    def of(self, attempt: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.attempt == attempt]


@dataclass(slots=True)
class SimulatedRuntime:
    """The runtime of one worker."""

    wire: Wire
    cluster: Cluster
    owner: str = OWNER

    def start(self, spec: JobSpec) -> Job:
        self._carry(lambda: self.cluster.prepare(spec.name))
        return self._carry(lambda: self.cluster.create(spec.name, spec))

    def stop(self, job: Job) -> None:
        self._carry(lambda: self.cluster.delete(job.name))

    def finish_setup(self, job: Job) -> None:  # noqa: ARG002
        self._carry(lambda: None)

    def find(
        self,
        attempt: str,
        spec: JobSpec | None = None,  # noqa: ARG002
        pid: str = "",  # noqa: ARG002
    ) -> Job | None:
        return self._carry(lambda: next(iter(self.cluster.of(attempt)), None))

    def clean_up(self, spec: JobSpec) -> None:
        self._carry(lambda: self.cluster.leftovers.discard(spec.name))

    def tail_logs(self, job: Job, lines: int) -> Sequence[str]:
        return self._carry(lambda: [f"{lines} lines of {job.name}"])

    def watch(self, emit: Emit, stop: CancellationToken) -> None:
        raise NotImplementedError("a test lets a worker hear")

    def watch_statuses(self) -> Iterable[WatchStatus]:
        return ()

    def _carry(self, deed: Callable[[], T]) -> T:
        def refused() -> T:
            raise RuntimeUnavailable("refused")

        return self.wire.carry(deed, RuntimeUnavailable("overloaded"), refused)


@dataclass(slots=True)
class Defects:
    """A journal that takes note of what should never happen."""

    found: list[str]

    def emit(self, level: Level, event: str, message: str = "", **_: Json) -> None:
        if level is Level.ERROR and event.endswith("-failed"):
            self.found.append(f"{event}: {message}")


@dataclass(slots=True)
class Process:
    """One life of a worker: what it forgets when it dies."""

    world: World
    name: str
    salt: UUID
    is_leader: bool
    wire: Wire = field(init=False)
    session: Session = field(init=False)
    hands: ActionExecutor = field(init=False)
    table: StateStore = field(init=False)
    inbox: list[Message] = field(default_factory=list)
    at_work: list[tuple[Action, int]] = field(default_factory=list)
    heard: int = 0
    """How much of the cluster's news has been heard; 0: jobs have not been listed yet."""

    def __post_init__(self) -> None:
        clock = self.world.clock
        self.wire = Wire(self.world)
        self.session = cast("Session", Line(self.wire, self.world.server))
        self.table = StateStore(clock=lambda: clock.now)
        event_log = Defects(self.world.violations)
        dialect = Dialect((3, 8, 8) if self.world.server.major == 3 else (2, 20, 26))
        logs = FlowLogs(self.session.send, self.session.server_clock, enabled=False)
        self.hands = ActionExecutor(
            session=self.session,
            runtime=SimulatedRuntime(self.wire, self.world.cluster),
            describe=self._describe,
            chronicle=RunReporter(
                session=self.session,
                dialect=dialect,
                logs=logs,
                worker=WorkerName(self.name, "kubernetes", "pool-id", POOL),
                owner=OWNER,
                event_log=event_log,
                clock=self.session.server_clock,
            ),
            event_log=event_log,
            emit=self.inbox.append,
            worker=self.name,
            crash_log_lines=1,
            salt=self.salt,
        )

    def _describe(self, run: Run) -> JobSpec:
        run_inline(call(Request("GET", f"/deployments/{DEPLOYMENT}")), self.session)
        return JobSpec(
            run=run.id,
            attempt=run.attempt,
            pool="pool-id",
            name=f"{run.name}-{run.attempt}",
            worker=self.name,
            configuration={},
            command=(),
            env={},
        )

    def poll(self) -> None:
        begun = self.world.clock.now
        rows = run_inline(due({"name": POOL, "id": POOL}, [], begun), self.session)
        offered = [run_of(row, OWNER) for row in rows]
        self.inbox.append(lambda table: table.offer(offered, begun))

    def sync(self) -> None:
        if not self.is_leader:
            self.inbox.append(StateStore.trim)
            return
        begun = self.world.clock.now
        runs = run_inline(active("pool-id", OWNER), self.session)
        others = {job.run for job in self.table.jobs.values()} - {run.id for run in runs}
        runs += run_inline(by_ids(others, OWNER), self.session)
        self.inbox.append(lambda table: table.sync(others, runs, begun))

    def listen(self) -> None:
        """Hears of the jobs: all of them at first, then of every change."""
        cluster = self.world.cluster
        if self.heard:
            self.inbox += cluster.news[self.heard - 1 :]
        else:
            self.inbox.append(JobsListed(PLACE, tuple(cluster.jobs.values()), self.world.clock.now))
        self.heard = len(cluster.news) + 1

    def relist(self) -> None:
        """Lists all jobs again, as a watch does that was cut off."""
        self.heard = 0
        self.listen()

    def step(self) -> None:
        """As `Reconciler.step`: hears, decides, and hands out."""
        while self.inbox:
            message = self.inbox.pop(0)
            if callable(message):
                message(self.table)
            else:
                self.table.hear(message)
        now, hears = self.world.clock.now, self.heard > 0
        seen = self.table.world(
            now, slots=None, claiming=True, is_leader=self.is_leader, hears=hears
        )
        for action in decide(seen):
            run = run_of_action(action)
            if run not in self.table.in_flight:
                self.table.in_flight.add(run)
                self.at_work.append((action, self.table.failures.get(run, 0)))

    def act(self) -> None:
        """A hand does the action that was handed out first."""
        if self.at_work:
            action, failures = self.at_work.pop(0)
            self.hands.do(action, failures)
            self.inbox.append(lambda table: table.in_flight.discard(run_of_action(action)))

    def turn(self) -> None:
        """Everything that a worker does, until nothing is left to be done at this moment."""
        self.listen()
        self.poll()
        self.sync()
        self.step()
        while self.at_work:
            while self.at_work:
                self.act()
            self.listen()
            self.step()


def run_of_action(action: Action) -> str:
    return action.job.run if isinstance(action, DeleteJob) else action.run.id
