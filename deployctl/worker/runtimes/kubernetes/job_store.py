"""What is known of the jobs of one cluster, put together from two streams, and what is news in it.

Jobs and pods are watched apart, so what is heard of one job comes in any order. The picture keeps
the facts of both and tells a job anew whenever the two together say something else than before.
Facts of a pod outlive the pod, until its Job is gone: they hold the reason of its end.

Pure, and not safe for threads: `watching` holds a lock around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from deployctl.worker.model import (
    Cause,
    Job,
    JobChanged,
    JobsListed,
    JobVanished,
    Phase,
    RuntimeUpdate,
)
from deployctl.worker.runtimes.kubernetes.status import JobStatus, PodStatus, combine

ALL_NAMESPACES = ""
"""The scope that is all namespaces."""


class WatchedKind(StrEnum):
    """What is watched."""

    JOBS = "jobs"
    PODS = "pods"


@dataclass(slots=True)
class JobStore:
    """The jobs of one cluster. `place` and `pid` name a job's, from its namespace (and name)."""

    location: Callable[[str], str]
    pid: Callable[[str, str], str]
    ahead: Callable[[], float] = lambda: 0.0
    """Seconds by which the clock of Prefect's server is ahead of the cluster's."""
    namespaces: set[str] = field(default_factory=set)
    """Those that have, had or may get jobs: each is a place of its own for the worker."""
    _jobs: dict[str, JobStatus] = field(default_factory=dict)
    _pods: dict[str, dict[str, PodStatus]] = field(default_factory=dict)
    _told: dict[str, Job] = field(default_factory=dict)
    _events: dict[str, Cause] = field(default_factory=dict)
    _listed: set[tuple[str, WatchedKind]] = field(default_factory=set)
    _begun: dict[str, float] = field(default_factory=dict)
    """When the jobs of a scope were asked for."""

    def is_listed(self, namespace: str) -> bool:
        """Whether all jobs of the namespace are known."""
        return any(self._has(scope) for scope in (ALL_NAMESPACES, namespace))

    def unlist(self, scope: str) -> None:
        """A scope that is not heard of any more."""
        self._listed -= {(scope, kind) for kind in WatchedKind}
        self._begun.pop(scope, None)

    def add(self, namespace: str) -> list[RuntimeUpdate]:
        """A namespace that may get jobs; one that is listed already is told at once."""
        self.namespaces.add(namespace)
        return [self._all_of(namespace)] if self.is_listed(namespace) else []

    def jobs_listed(
        self, scope: str, jobs: Iterable[JobStatus], requested_at: float
    ) -> list[RuntimeUpdate]:
        """All jobs of a scope as they were when they were asked for, by `time.monotonic`."""
        there = {job.attempt: job for job in jobs}
        for attempt, job in list(self._jobs.items()):
            if scope in (ALL_NAMESPACES, job.namespace) and attempt not in there:
                self._forget(attempt)
        self._jobs |= there
        self._begun[scope] = requested_at
        self.namespaces |= {job.namespace for job in there.values()} | ({scope} - {ALL_NAMESPACES})
        return self._list(scope, WatchedKind.JOBS)

    def pods_listed(self, scope: str, pods: Iterable[PodStatus]) -> list[RuntimeUpdate]:
        """All pods of a scope as they are now. Of which jobs there are they say nothing new."""
        there = {pod.uid: pod for pod in pods}
        for known in list(self._pods.values()):
            for pod in list(known.values()):
                if scope in (ALL_NAMESPACES, pod.namespace) and pod.uid not in there:
                    self._lose(pod)
        for pod in there.values():
            self._pods.setdefault(pod.attempt, {})[pod.uid] = pod
        if self._has(scope):
            return [news for attempt in self._jobs for news in self._changes(attempt)]
        return self._list(scope, WatchedKind.PODS)

    def job_seen(self, job: JobStatus) -> list[RuntimeUpdate]:
        """A Job is there, or has changed."""
        self._jobs[job.attempt] = job
        self.namespaces.add(job.namespace)
        return list(self._changes(job.attempt))

    def job_gone(self, job: JobStatus) -> list[RuntimeUpdate]:
        """A Job is not there any more."""
        known = self._jobs.get(job.attempt)
        if known is None or known.uid != job.uid:
            return []
        self._forget(job.attempt)
        return [JobVanished(job.attempt)]

    def pod_seen(self, pod: PodStatus) -> list[RuntimeUpdate]:
        """A pod is there, or has changed."""
        self._pods.setdefault(pod.attempt, {})[pod.uid] = pod
        return list(self._changes(pod.attempt))

    def pod_gone(self, pod: PodStatus) -> list[RuntimeUpdate]:
        """A pod is not there any more; these are the last facts of it."""
        self._pods.setdefault(pod.attempt, {})[pod.uid] = pod
        self._lose(pod)
        return list(self._changes(pod.attempt))

    def explained(self, attempt: str, cause: Cause | None) -> list[RuntimeUpdate]:
        """What the events of a waiting job say; None where they say nothing."""
        if cause is None:
            self._events.pop(attempt, None)
        elif attempt in self._jobs:
            self._events[attempt] = cause
        return list(self._changes(attempt))

    def puzzling(self, before: float) -> Iterator[tuple[JobStatus, tuple[PodStatus, ...]]]:
        """Jobs that wait since `before` for a reason that neither they nor their pods give."""
        for attempt, job in self._jobs.items():
            told = self._told.get(attempt)
            if told and told.phase is Phase.WAITING and told.since <= before:
                own = combine(job, self.pods(attempt), location="", pid="")
                if own.cause is None and not own.deleting:
                    yield job, self.pods(attempt)

    def is_unexplained(self, job: JobStatus) -> bool:
        """Whether a Job is news that failed, and whose pods may know more of it than was heard."""
        told = self._told.get(job.attempt)
        return (
            job.phase is Phase.FAILED
            and told is not None
            and told.phase is not Phase.FAILED
            and not any(pod.phase.is_over and pod.cause for pod in self.pods(job.attempt))
        )

    def streaming(self) -> Iterator[PodStatus]:
        """The pods that print something, or have, of jobs whose output is to be repeated."""
        for attempt, job in self._jobs.items():
            if job.limits.stream_output:
                yield from (pod for pod in self.pods(attempt) if pod.phase is not Phase.WAITING)

    def pods(self, attempt: str) -> tuple[PodStatus, ...]:
        """What is known of the pods of a job."""
        return tuple(self._pods.get(attempt, {}).values())

    def told(self, attempt: str) -> Job | None:
        """What was told last of a job."""
        return self._told.get(attempt)

    def _has(self, scope: str) -> bool:
        return all((scope, kind) in self._listed for kind in WatchedKind)

    def _list(self, scope: str, kind: WatchedKind) -> list[RuntimeUpdate]:
        """What a list makes known: nothing until the other kind of the scope is listed, too."""
        self._listed.add((scope, kind))
        if not self._has(scope):
            return []
        places = sorted(self.namespaces) if scope == ALL_NAMESPACES else [scope]
        return [self._all_of(namespace) for namespace in places]

    def _all_of(self, namespace: str) -> JobsListed:
        jobs = []
        for attempt, facts in self._jobs.items():
            if facts.namespace == namespace:
                self._told[attempt] = self._job(facts)
                jobs.append(self._told[attempt])
        requested_at = next(
            self._begun[each] for each in (ALL_NAMESPACES, namespace) if each in self._begun
        )
        return JobsListed(self.location(namespace), tuple(jobs), requested_at)

    def _changes(self, attempt: str) -> Iterator[RuntimeUpdate]:
        facts = self._jobs.get(attempt)
        if facts is None or not self.is_listed(facts.namespace):
            return
        job = self._job(facts)
        if self._told.get(attempt) != job:
            self._told[attempt] = job
            yield JobChanged(job)

    def _job(self, facts: JobStatus) -> Job:
        job = combine(
            facts,
            self.pods(facts.attempt),
            location=self.location(facts.namespace),
            pid=self.pid(facts.namespace, facts.name),
        )
        job = replace(job, since=job.since + self.ahead())
        if job.phase is Phase.WAITING and job.cause is None:
            return replace(job, cause=self._events.get(facts.attempt))
        self._events.pop(facts.attempt, None)
        return job

    def _lose(self, pod: PodStatus) -> None:
        """A pod is gone: nothing of it runs any more, and only its Job's reader cares why."""
        known = self._pods[pod.attempt]
        if pod.attempt not in self._jobs:
            del known[pod.uid]
            if not known:
                del self._pods[pod.attempt]
        elif not pod.phase.is_over:
            known[pod.uid] = replace(pod, phase=Phase.FAILED)

    def _forget(self, attempt: str) -> None:
        self._jobs.pop(attempt, None)
        self._pods.pop(attempt, None)
        self._told.pop(attempt, None)
        self._events.pop(attempt, None)
