"""Store of the jobs of one cluster: merges the watches of Jobs and pods, and computes updates.

Jobs and pods are watched separately, so that events about one job come in any order. The store
keeps the status of both and yields a `JobChanged` whenever the two combined differ from what was
emitted last. The status of a pod outlives the pod until its Job is deleted: it holds the reason of
its end.

Pure, and not thread-safe: `Informer` holds a lock around it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from deployctl.worker.model import (
    Cause,
    Job,
    JobChanged,
    JobsListed,
    JobVanished,
    Phase,
    RuntimeUpdate,
)
from deployctl.worker.runtimes.kubernetes.reflector import ALL_NAMESPACES, WatchedKind
from deployctl.worker.runtimes.kubernetes.status import JobStatus, PodStatus, combine


@dataclass(slots=True)
class JobStore:
    """The jobs of one cluster, by attempt."""

    location: Callable[[str], str]
    """The location of a namespace, as in `Job.location`."""
    pid: Callable[[str, str], str]
    """The pid of a job, from its namespace and name, as in `Job.pid`."""
    clock_offset: Callable[[], float] = lambda: 0.0
    """Seconds by which the clock of the Prefect server is ahead of the cluster's."""
    clock: Callable[[], float] = time.time
    """The cluster's time."""
    namespaces: set[str] = field(default_factory=set)
    """Namespaces that have, had or may get jobs: each is a location of its own."""
    _jobs: dict[str, JobStatus] = field(default_factory=dict)
    _pods: dict[str, dict[str, PodStatus]] = field(default_factory=dict)
    """By attempt and uid."""
    _emitted: dict[str, Job] = field(default_factory=dict)
    _event_causes: dict[str, Cause] = field(default_factory=dict)
    _listed: set[tuple[str, WatchedKind]] = field(default_factory=set)
    _requested_at: dict[str, float] = field(default_factory=dict)
    """When the Jobs of a scope were requested, by `time.monotonic`."""

    def has_synced(self, namespace: str) -> bool:
        """Whether all jobs of the namespace are known."""
        return any(self.is_listed(scope) for scope in (ALL_NAMESPACES, namespace))

    def has_jobs(self, namespace: str) -> bool:
        """Whether jobs of the namespace are known."""
        return any(job.namespace == namespace for job in self._jobs.values())

    def drop_scope(self, scope: str) -> None:
        """Forgets that a scope was listed, because it is not watched any more."""
        self._listed -= {(scope, kind) for kind in WatchedKind}
        self._requested_at.pop(scope, None)

    def add_namespace(self, namespace: str) -> list[RuntimeUpdate]:
        """Adds a namespace that may get jobs; yields its list at once if it has synced."""
        self.namespaces.add(namespace)
        return [self._list_of(namespace)] if self.has_synced(namespace) else []

    def replace_jobs(
        self, scope: str, jobs: Iterable[JobStatus], requested_at: float
    ) -> list[RuntimeUpdate]:
        """Replaces all Jobs of a scope by a list that was requested at this time (monotonic)."""
        listed = {job.attempt: job for job in jobs}
        for attempt, job in list(self._jobs.items()):
            if scope in (ALL_NAMESPACES, job.namespace) and attempt not in listed:
                self._forget(attempt)
        self._jobs |= listed
        self._requested_at[scope] = requested_at
        self.namespaces |= {job.namespace for job in listed.values()} | ({scope} - {ALL_NAMESPACES})
        return self._mark_listed(scope, WatchedKind.JOBS)

    def replace_pods(self, scope: str, pods: Iterable[PodStatus]) -> list[RuntimeUpdate]:
        """Replaces all pods of a scope. A list of pods says nothing new about which jobs exist."""
        listed = {pod.uid: pod for pod in pods}
        for known in list(self._pods.values()):
            for pod in list(known.values()):
                if scope in (ALL_NAMESPACES, pod.namespace) and pod.uid not in listed:
                    self._mark_deleted(pod)
        for pod in listed.values():
            self._put_pod(pod)
        if self.is_listed(scope):
            return [update for attempt in self._jobs for update in self._changes(attempt)]
        return self._mark_listed(scope, WatchedKind.PODS)

    def upsert_job(self, job: JobStatus) -> list[RuntimeUpdate]:
        """Adds or updates a Job."""
        self._jobs[job.attempt] = job
        self.namespaces.add(job.namespace)
        return list(self._changes(job.attempt))

    def delete_job(self, job: JobStatus) -> list[RuntimeUpdate]:
        """Deletes a Job, unless another one of the same attempt has taken its place."""
        known = self._jobs.get(job.attempt)
        if known is None or known.uid != job.uid:
            return []
        self._forget(job.attempt)
        return [JobVanished(job.attempt)]

    def upsert_pod(self, pod: PodStatus) -> list[RuntimeUpdate]:
        """Adds or updates a pod."""
        self._put_pod(pod)
        return list(self._changes(pod.attempt))

    def delete_pod(self, pod: PodStatus) -> list[RuntimeUpdate]:
        """Deletes a pod, given its last status."""
        self._put_pod(pod)
        self._mark_deleted(pod)
        return list(self._changes(pod.attempt))

    def set_event_cause(self, attempt: str, cause: Cause | None) -> list[RuntimeUpdate]:
        """Sets what the Events of a waiting job say; None if they say nothing."""
        if cause is None:
            self._event_causes.pop(attempt, None)
        elif attempt in self._jobs:
            self._event_causes[attempt] = cause
        return list(self._changes(attempt))

    def unexplained(self, before: float) -> Iterator[tuple[JobStatus, tuple[PodStatus, ...]]]:
        """Jobs, with their pods, that wait since `before` without a cause of their own."""
        for attempt, job in self._jobs.items():
            emitted = self._emitted.get(attempt)
            if emitted and emitted.phase is Phase.WAITING and emitted.since <= before:
                own = combine(job, self.pods(attempt), location="", pid="")
                if own.cause is None and not own.deleting:
                    yield job, self.pods(attempt)

    def needs_pods(self, job: JobStatus) -> bool:
        """Whether a Job has newly failed, and its pods may know more than was received so far."""
        emitted = self._emitted.get(job.attempt)
        return (
            job.phase is Phase.FAILED
            and emitted is not None
            and emitted.phase is not Phase.FAILED
            and not any(pod.phase.is_over and pod.cause for pod in self.pods(job.attempt))
        )

    def pods_to_stream(self) -> Iterator[PodStatus]:
        """Pods that print, or have printed, of jobs with `stream_output`."""
        for attempt, job in self._jobs.items():
            if job.limits.stream_output:
                yield from (pod for pod in self.pods(attempt) if pod.phase is not Phase.WAITING)

    def pods(self, attempt: str) -> tuple[PodStatus, ...]:
        """The known pods of a job."""
        return tuple(self._pods.get(attempt, {}).values())

    def last_emitted(self, attempt: str) -> Job | None:
        """The job of an attempt as it was emitted last."""
        return self._emitted.get(attempt)

    def is_listed(self, scope: str) -> bool:
        """Whether both kinds of objects in this scope are known."""
        return all((scope, kind) in self._listed for kind in WatchedKind)

    def _mark_listed(self, scope: str, kind: WatchedKind) -> list[RuntimeUpdate]:
        """Marks a kind as listed; yields nothing until both kinds of the scope are."""
        self._listed.add((scope, kind))
        if not self.is_listed(scope):
            return []
        namespaces = sorted(self.namespaces) if scope == ALL_NAMESPACES else [scope]
        return [self._list_of(namespace) for namespace in namespaces]

    def _list_of(self, namespace: str) -> JobsListed:
        jobs = []
        for attempt, status in self._jobs.items():
            if status.namespace == namespace:
                self._emitted[attempt] = self._job(status)
                jobs.append(self._emitted[attempt])
        requested_at = next(
            self._requested_at[scope]
            for scope in (ALL_NAMESPACES, namespace)
            if scope in self._requested_at
        )
        return JobsListed(self.location(namespace), tuple(jobs), requested_at)

    def _changes(self, attempt: str) -> Iterator[RuntimeUpdate]:
        status = self._jobs.get(attempt)
        if status is None or not self.has_synced(status.namespace):
            return
        job = self._job(status)
        if self._emitted.get(attempt) != job:
            self._emitted[attempt] = job
            yield JobChanged(job)

    def _job(self, status: JobStatus) -> Job:
        job = combine(
            status,
            self.pods(status.attempt),
            location=self.location(status.namespace),
            pid=self.pid(status.namespace, status.name),
        )
        job = job.with_offset(self.clock_offset())
        if job.phase is Phase.WAITING and job.cause is None:
            return replace(job, cause=self._event_causes.get(status.attempt))
        self._event_causes.pop(status.attempt, None)
        return job

    def _put_pod(self, pod: PodStatus) -> None:
        """Stores a pod. When a pod is removed before its grace period has ended, the API server
        moves that end back to the request; it ends now, so that its Job has time to follow."""
        known = self._pods.setdefault(pod.attempt, {})
        before = known.get(pod.uid)
        if before and before.ends_at and pod.ends_at and pod.ends_at < before.ends_at:
            pod = replace(pod, ends_at=max(pod.ends_at, min(before.ends_at, self.clock())))
        known[pod.uid] = pod

    def _mark_deleted(self, pod: PodStatus) -> None:
        """Marks a pod as ended now; keeps its status as long as its Job is known."""
        known = self._pods[pod.attempt]
        if pod.attempt not in self._jobs:
            del known[pod.uid]
            if not known:
                del self._pods[pod.attempt]
        elif not pod.phase.is_over:
            known[pod.uid] = replace(pod, phase=Phase.FAILED, since=self.clock())

    def _forget(self, attempt: str) -> None:
        self._jobs.pop(attempt, None)
        self._pods.pop(attempt, None)
        self._emitted.pop(attempt, None)
        self._event_causes.pop(attempt, None)
