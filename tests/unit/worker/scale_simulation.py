"""Many replicas under load, in virtual time.

The workers, the server's rules and the cluster are those of `Simulation`. Here each loop and each
action of a worker is a process, each request takes the time that a real server was measured to need
for it, and servers answer a limited number of requests at once; so queues form where they would.
"""

from __future__ import annotations

import random
import re
import time as real_time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

from deployctl.api.calls import Request
from deployctl.core.json_values import Json
from deployctl.jobs.model import JobSpec
from deployctl.worker.model import Job
from deployctl.worker.poll_schedule import PollSchedule
from deployctl.worker.settings import WorkerSettings
from deployctl.worker.timings import DEFAULT_TIMINGS
from tests.support.virtual_time import Station, Turn, VirtualQueue, VirtualTime
from tests.unit.worker.fault_injection import FaultInjector
from tests.unit.worker.simulated_cluster import SimulatedCluster, SimulatedRuntime
from tests.unit.worker.simulated_server import SimulatedServer
from tests.unit.worker.simulated_worker import ManualPool, Parts, SimulatedSession, SimulatedWorker
from tests.unit.worker.simulation import Simulation

T = TypeVar("T")
POLL, ACTIVE, CLAIM, HEARTBEAT = "poll", "active", "claim", "heartbeat"
HORIZON = 60.0
"""Seconds before its start at which the scheduler creates a run."""
LATENCY = 0.002
"""Seconds of a request in the network and the database."""
JOB_TTL = 30.0
_WATCH_INTERVAL = 0.05
"""Seconds between batches of updates of Jobs that a worker gets."""


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """CPU seconds per request, of a Prefect server unless something else is said.

    Printed by `benchmarks/requests.py` for 3.9.1 on PostgreSQL, on one of two shared cores of a
    cloud machine.
    """

    poll: float = 0.030
    poll_row: float = 0.0015
    page: float = 0.010
    page_row: float = 0.0005
    claim: float = 0.026
    late_claim: float = 0.013
    propose: float = 0.026
    read: float = 0.010
    patch: float = 0.010
    heartbeat: float = 0.030
    entry: float = 0.0008
    """Of a line or event in a batch."""
    flow: float = 0.740
    """All requests of a run's own process."""
    create_job: float = 0.010
    """Of the Kubernetes API server."""
    client: float = 0.002
    """Of the worker, for each of its requests."""


MEASURED = ServiceTimes()


@dataclass(frozen=True, slots=True)
class Load:
    """What is simulated."""

    replicas: int
    runs_per_hour: float
    seconds: float = 120.0
    """For how long runs become due, evenly spread."""
    burst: int = 0
    """Runs that are due at the start, beside those."""
    run_seconds: float = 60.0
    pod_seconds: float = 5.0
    server_processes: int = 1
    charge_cpu: bool = True
    """Whether the measured CPU time of reconcile steps takes virtual time, too."""
    drain: float = 300.0
    """Longest time from the last due run to the end."""


@dataclass(slots=True)
class Figures:
    """What was counted."""

    load: Load
    runs: int = 0
    completed: int = 0
    violations: list[str] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    """Of all workers, by kind."""
    lost_claims: int = 0
    """Claims of runs that another replica had claimed."""
    delays: list[float] = field(default_factory=list)
    """Seconds from the start time of each run to its Job."""
    most_jobs: int = 0
    server_seconds: float = 0.0
    """CPU seconds of the Prefect server."""
    step_seconds: list[float] = field(default_factory=list)
    """CPU seconds of reconcile steps, by replica."""
    slowest_step: float = 0.0
    seconds: float = 0.0

    @property
    def requests_per_run(self) -> float:
        """Requests of all workers for each run, without heartbeats: those come with time."""
        return (self.requests.total() - self.requests[HEARTBEAT]) / max(1, self.runs)

    @property
    def seconds_per_run(self) -> float:
        """CPU seconds of the Prefect server for each run."""
        return self.server_seconds / max(1, self.runs)

    @property
    def lost(self) -> int:
        """Runs that did not complete."""
        return self.runs - self.completed

    @property
    def worst_delay(self) -> float:
        """Seconds within which 99 % of the runs got their Jobs."""
        ordered = sorted(self.delays)
        return ordered[int(len(ordered) * 0.99)] if ordered else float("inf")

    @property
    def busiest_step(self) -> float:
        """Part of a core that the reconcile loop of the busiest replica took."""
        return max(self.step_seconds, default=0.0) / self.seconds


class TimedSession(SimulatedSession):
    """A session whose requests take time; writes are sent one at a time, as by `Session`."""

    def __init__(
        self, injector: FaultInjector, server: SimulatedServer, scale: ScaleSimulation
    ) -> None:
        super().__init__(injector, server)
        self._scale = scale
        self._turn = Turn(scale.time)
        self._cpu = Station(scale.time)
        self._cached_until = 0.0

    def send(self, request: Request, *, finish: bool = False) -> Json:
        """Send a request, and let its time pass."""
        if re.match("/(deployments|flows)/", request.path):
            if self._cached_until > self._scale.time.now:
                return super().send(request, finish=finish)
            self._cached_until = self._scale.time.now + 5.0
        self._cpu.use(self._scale.times.client)
        if request.method == "GET" or request.path.endswith("/filter"):
            return self._timed(request)
        with self._turn:
            return self._timed(request)

    def _timed(self, request: Request) -> Json:
        scale = self._scale
        kind, seconds = scale.service(request)
        scale.figures.requests[kind] += 1
        scale.api.use(seconds, LATENCY)
        answer = super().send(request)
        if kind in (POLL, ACTIVE) and answer:
            times = scale.times
            scale.api.use(len(answer) * (times.poll_row if kind == POLL else times.page_row))
        if kind == CLAIM and answer["status"] != "ACCEPT":
            scale.figures.lost_claims += 1
        return answer


class TimedRuntime(SimulatedRuntime):
    """A runtime whose requests take time, and whose Jobs have pods."""

    def __init__(
        self, injector: FaultInjector, cluster: SimulatedCluster, scale: ScaleSimulation
    ) -> None:
        super().__init__(injector, cluster)
        self._scale = scale

    def start(self, spec: JobSpec) -> Job:
        """Create a Job; its pod starts by itself."""
        created = len(self.cluster.created)
        job = super().start(spec)
        if len(self.cluster.created) > created:
            self._scale.run_pod(job)
        return job

    def delete(self, job: Job) -> None:
        """Delete a Job, and its pod a second later."""
        super().delete(job)
        self._scale.after(1.0, lambda: self._scale.remove(job))

    def _request(self, execute: Callable[[], T]) -> T:
        self._scale.kube.use(self._scale.times.create_job)
        return execute()


class ProcessPool(ManualPool):
    """Runs each task as a process of the simulation."""

    def __init__(self, scale: ScaleSimulation) -> None:
        super().__init__()
        self._time = scale.time

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        self._time.spawn(lambda: fn(*args, **kwargs))
        return Future()


class ScaleSimulation(Simulation):
    """Replicas that work by themselves, and runs that become due."""

    def __init__(self, load: Load, times: ServiceTimes = MEASURED) -> None:
        super().__init__(3, 0, 0, polite=True)
        self.load, self.times = load, times
        self.clock.step = 0.0
        self.time = VirtualTime(self.clock)
        self.api = Station(self.time, load.server_processes)
        self.kube = Station(self.time, 4)
        self.figures = Figures(load, violations=self.violations)
        self.figures.step_seconds = [0.0] * load.replicas
        self._charged = [0.0] * load.replicas
        """Seconds that the last reconcile step of each replica takes."""
        self._due: dict[str, float] = {}
        timings = replace(DEFAULT_TIMINGS, debounce=0.0)  # the queue does that
        parts = Parts(
            pool=lambda: ProcessPool(self),
            session=lambda injector, server: TimedSession(injector, server, self),
            runtime=lambda injector, cluster: TimedRuntime(injector, cluster, self),
            queue=lambda: cast(Any, VirtualQueue(self.time, DEFAULT_TIMINGS.debounce)),
            timings=timings,
            settings=WorkerSettings(prefetch_seconds=0.0),
        )
        self.workers = [
            SimulatedWorker(
                self, f"worker-{number}", UUID(int=number), is_leader=number == 0, parts=parts
            )
            for number in range(load.replicas)
        ]

    def play(self) -> Figures:
        """Let all runs become due and end, and return what was counted."""
        load, figures, begin = self.load, self.figures, self.time.now
        rate = load.runs_per_hour / 3600
        starts = [begin + 30.0] * load.burst
        starts += [begin + 30.0 + number / rate for number in range(int(load.seconds * rate))]
        for start in sorted(starts):
            self.time.at(start - HORIZON, partial(self._schedule, start))
        for number, worker in enumerate(self.workers):
            self._start(number, worker)
        figures.runs = len(starts)
        end = begin + 30.0 + load.seconds + load.drain
        while self.time.now < end and figures.completed < figures.runs:
            self.time.run(self.time.now + 1.0)
            live = sum(not job.phase.is_over for job in self.cluster.jobs.values())
            figures.most_jobs = max(figures.most_jobs, live)
            figures.completed = sum(self.server.type_of(run) == "COMPLETED" for run in self._due)
        figures.seconds, figures.server_seconds = self.time.now - begin, self.api.busy
        attempts = Counter(self.cluster.created)
        self.violations += [f"{each} has {n} jobs" for each, n in attempts.items() if n > 1]
        self.violations += self.cluster.duplicates
        self.time.close()
        return figures

    def service(self, request: Request) -> tuple[str, float]:
        """Return the kind of a request, and the server's CPU seconds for it."""
        times, path = self.times, request.path
        if path.endswith("get_scheduled_flow_runs"):
            return POLL, times.poll
        if path.endswith("/filter"):
            return ACTIVE, times.page
        if path.endswith("/set_state"):
            run = self.server.rows.get(path.split("/")[-2])
            late = run is not None and run["state_type"] != "SCHEDULED"
            claims = request.body["state"]["name"] == "Pending"
            if claims:
                return CLAIM, times.late_claim if late else times.claim
            return "propose", times.propose
        if path in ("/logs/", "/events"):
            return "entries", times.read + len(request.body) * times.entry
        return ("read", times.read) if request.method == "GET" else ("report", times.patch)

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Call a function later."""
        self.time.at(self.time.now + seconds, call)

    def run_pod(self, job: Job) -> None:
        """Let the pod of a new Job start, run its flow and end."""
        figures, half = self.figures, self.times.flow / 2
        figures.delays.append(self.time.now - self._due[job.run])

        def current(event: Callable[[Job], None]) -> Callable[[], None]:
            def call() -> None:
                if found := self.cluster.jobs.get(job.name):
                    event(found)

            return call

        def begin() -> None:
            self.api.submit(half, current(self.begin))

        def finish() -> None:
            self.api.submit(half, current(self.finish))
            self.after(JOB_TTL, lambda: self.remove(job))

        self.after(self.load.pod_seconds, begin)
        self.after(self.load.pod_seconds + self.load.run_seconds, finish)

    def start_pod(self) -> None:
        """Nothing: `run_pod` lets the time pass."""

    def remove(self, job: Job) -> None:
        """Remove a Job that has ended."""
        if job.name in self.cluster.jobs:
            self.cluster.remove(job.name)

    def _schedule(self, start: float) -> None:
        self._due[self.server.add_run(start)] = start

    def _start(self, number: int, worker: SimulatedWorker) -> None:
        """Start all loops of a worker, each worker a bit later than the one before."""
        service, timings = worker.service, DEFAULT_TIMINGS
        rng = random.Random(number)
        service.schedule = PollSchedule(service.settings.query_seconds, rng, timings)
        worker.store.claim_order.salt = rng.randbytes(16)
        self._loop(number, service._poll_if_due, service._poll_wait)
        self._loop(number, service.sync, service._sync_interval)
        self._loop(number, service._report, lambda: timings.report_interval)
        self._loop(number, self._heartbeat, lambda: service.settings.heartbeat_seconds)
        self._deliver(worker)
        self._loop(number, lambda: self._reconcile(number, worker), lambda: self._charged[number])

    def _deliver(self, worker: SimulatedWorker) -> None:
        """Deliver updates of Jobs again and again; that needs no process, because nothing waits."""
        worker.deliver_updates()
        self.after(_WATCH_INTERVAL, partial(self._deliver, worker))

    def _heartbeat(self) -> None:
        self.figures.requests[HEARTBEAT] += 3
        self.api.use(self.times.heartbeat)

    def _reconcile(self, number: int, worker: SimulatedWorker) -> None:
        begin = real_time.thread_time()
        worker.reconcile()
        used = real_time.thread_time() - begin
        self.figures.step_seconds[number] += used
        self.figures.slowest_step = max(self.figures.slowest_step, used)
        self._charged[number] = used if self.load.charge_cpu else 0.0

    def _loop(self, number: int, step: Callable[[], object], pause: Callable[[], float]) -> None:
        def repeat() -> None:
            self.time.sleep(number * 0.37 % 10.0)
            while True:
                step()
                self.time.sleep(pause())

        self.time.spawn(repeat)
