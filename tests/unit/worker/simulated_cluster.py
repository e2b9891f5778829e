"""Simulated cluster with the Jobs of a pool, and the runtime by which a worker uses it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from deployctl.core.cancellation import CancellationToken
from deployctl.jobs.model import JobSpec
from deployctl.worker.model import (
    Cause,
    Emit,
    Job,
    JobChanged,
    JobVanished,
    LocationRefused,
    Phase,
    RuntimeUnavailable,
    RuntimeUpdate,
    StartFailed,
    WatchStatus,
)
from tests.unit.worker.fault_injection import FaultInjector
from tests.unit.worker.simulated_server import Clock

T = TypeVar("T")
LOCATION = "own"
"""The worker's own namespace."""
OWNER = "owner"


@dataclass(slots=True)
class SimulatedCluster:
    """Jobs of the pool, and the history of their updates."""

    clock: Clock
    limit: int | None = None
    """Largest number of live Jobs of each worker."""
    over_limit: list[str] = field(default_factory=list)
    """Workers that had more than that."""
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
    described: str = LOCATION
    """The namespace in which runs are described to run: where Jobs are created now."""
    refused: set[str] = field(default_factory=set)
    """Namespaces in which nothing may be listed or created."""
    tailed: list[str] = field(default_factory=list)
    """Attempts whose last lines were read."""
    hung: set[str] = field(default_factory=set)
    """Names of Jobs whose deletion never ends: a finalizer, or a node that is gone."""

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
                    location=self.described,
                    pid=f"{self.described}:{name}",
                    worker=spec.worker,
                    phase=Phase.WAITING,
                    since=self.clock.now,
                    limits=spec.limits,
                )
            )
            self._check_limit(spec.worker)
        return self.jobs[name]

    def _check_limit(self, worker: str) -> None:
        now = self.clock.now
        live = [
            job.attempt
            for job in self.jobs.values()
            if job.worker == worker and not job.phase.is_over and not job.deletion_hangs(now, 30.0)
        ]
        if self.limit is not None and len(live) > self.limit:
            self.over_limit.append(f"{worker} has {len(live)} Jobs")

    def put(self, job: Job) -> None:
        self.jobs[job.name] = job
        self.updates.append(JobChanged(job))

    def delete(self, name: str) -> None:
        """Request the deletion of a Job, which takes time."""
        if job := self.jobs.get(name):
            grace = 30.0 if job.phase is Phase.RUNNING else 0.0
            deadline = job.deletion_deadline or self.clock.now + grace
            self.put(replace(job, deleting=True, deletion_deadline=deadline))

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
    scopes: set[str] = field(default_factory=lambda: {LOCATION})
    """Namespaces that this process knows of and watches."""

    def is_of_predecessor(self, owner: str) -> bool:  # noqa: ARG002
        return False

    def start(self, spec: JobSpec) -> Job:
        self.scopes.add(self.cluster.described)
        if self.cluster.described in self.cluster.refused:
            raise StartFailed(Cause("Forbidden", "the worker may not create it"))
        self._request(lambda: self.cluster.prepare(spec.name))
        return self._request(lambda: self.cluster.create(spec.name, spec))

    def delete(self, job: Job) -> None:
        self._request(lambda: self.cluster.delete(job.name))

    def sweep(self, needed: Collection[str]) -> None:
        """Nothing is left without a run here."""

    def finish_setup(self, job: Job) -> None:  # noqa: ARG002
        self._request(lambda: None)

    def find(self, attempt: str, spec: JobSpec | None = None, pid: str = "") -> Job | None:
        expected = {pid.partition(":")[0], self.cluster.described if spec else ""} - {""}
        self.scopes |= expected
        if expected & self.cluster.refused:
            raise LocationRefused("the worker may not list jobs")
        readable = self.scopes - self.cluster.refused
        found = (job for job in self.cluster.jobs_of(attempt) if job.location in readable)
        return self._request(lambda: next(found, None))

    def forget_refused(self) -> None:
        """Forget namespaces that may not be listed and have no jobs."""
        used = {job.location for job in self.cluster.jobs.values()}
        self.scopes -= self.cluster.refused - used - {LOCATION}

    def clean_up(self, spec: JobSpec) -> None:
        self._request(lambda: self.cluster.leftovers.discard(spec.name))

    def tail_logs(self, job: Job, lines: int) -> Sequence[str]:
        self.cluster.tailed.append(job.attempt)
        return self._request(lambda: [f"{lines} lines of {job.name}"])

    def watch(self, emit: Emit, stop: CancellationToken) -> None:
        raise NotImplementedError("a test delivers the updates")

    def watch_statuses(self) -> Iterable[WatchStatus]:
        return ()

    def _request(self, execute: Callable[[], T]) -> T:
        def refused() -> T:
            raise RuntimeUnavailable("refused")

        return self.injector.request(execute, RuntimeUnavailable("overloaded"), refused)
