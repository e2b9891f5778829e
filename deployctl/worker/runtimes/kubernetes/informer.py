"""Informer of one pool in one cluster: the store that the cluster's reflectors feed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from deployctl.clients.kubernetes import KubeApiError, KubeUnreachable
from deployctl.core.json_values import Json
from deployctl.jobs.job_labels import ATTEMPT
from deployctl.worker.model import Cause, Emit, RuntimeUpdate, WatchStatus
from deployctl.worker.runtimes.kubernetes.clusters import Cluster
from deployctl.worker.runtimes.kubernetes.job_store import JobStore
from deployctl.worker.runtimes.kubernetes.reflector import (
    ALL_NAMESPACES,
    WatchedKind,
    resource_path,
)
from deployctl.worker.runtimes.kubernetes.status import JobStatus, PodStatus, pod_status

T = TypeVar("T")

PodHandler: TypeAlias = Callable[[str, PodStatus, Json], None]
"""Called for each event of a pod: ADDED, MODIFIED or DELETED, its status, and its JSON."""


class Informer:
    """Keeps the Jobs and pods of a pool in one cluster and emits their changes (`Subscriber`)."""

    def __init__(
        self,
        cluster: Cluster,
        owner: str,
        selector: str,
        *,
        emit: Emit,
        on_pod: PodHandler,
        namespaces: Iterable[str] = (),
    ) -> None:
        """`owner` is the value of the label OWNER of the pool's objects, `selector` selects them;
        `namespaces` are the ones that are known from the start."""
        self.cluster = cluster
        self.owner = owner
        self.selector = selector
        self.store = JobStore(
            cluster.location, cluster.pid, cluster.clock_offset, cluster.kube.clock
        )
        self._emit = emit
        self._on_pod = on_pod
        self._lock = threading.Lock()
        self._initial_namespaces = frozenset(namespaces or (cluster.kube.namespace,))
        self.store.namespaces.update(self._initial_namespaces)

    def add_namespace(self, namespace: str) -> None:
        """Adds a namespace that may get jobs."""
        with self._lock:
            if namespace not in self.store.namespaces:
                self._emit_all(self.store.add_namespace(namespace))

    def refused_namespaces(self, forbidden: set[str]) -> list[str]:
        """Those of the `forbidden` scopes that were added as namespaces and have no jobs."""
        added = forbidden - self._initial_namespaces - {ALL_NAMESPACES}
        with self._lock:
            known = added & self.store.namespaces
            return [each for each in known if not self.store.has_jobs(each)]

    def remove_namespace(self, namespace: str) -> None:
        """Does not need this namespace any more."""
        with self._lock:
            self.store.drop_scope(namespace)
            self.store.namespaces.discard(namespace)

    def namespaces(self) -> set[str]:
        """Returns the namespaces that have, had or may get jobs."""
        return self.query(lambda store: set(store.namespaces))

    def drop_scope(self, scope: str) -> None:
        """Forgets that a scope was listed, because it is not watched any more."""
        self.query(lambda store: store.drop_scope(scope))

    def watch_statuses(self, watches: Iterable[WatchStatus]) -> Iterator[WatchStatus]:
        """The status of those of the cluster's watches that this pool needs, by location.

        What another pool has listed may be unknown here: see `JobStore.is_listed`.
        """
        needed = self.namespaces() | {ALL_NAMESPACES}
        listed = self.query(lambda store: {scope for scope in needed if store.is_listed(scope)})
        for watch in watches:
            scope = watch.location
            if scope in needed:
                status = replace(watch, location=self.cluster.location(scope or "*"))
                if scope not in listed:
                    problem = watch.problem or "not listed yet"
                    status = replace(status, last_contact=0.0, problem=problem)
                yield status

    def set_event_cause(self, attempt: str, cause: Cause | None) -> None:
        """Records what Events say about a job that waits."""
        with self._lock:
            self._emit_all(self.store.set_event_cause(attempt, cause))

    def query(self, read: Callable[[JobStore], T]) -> T:
        """The result of `read` on the store, under its lock."""
        with self._lock:
            return read(self.store)

    def on_list(
        self, kind: WatchedKind, scope: str, statuses: list[Any], requested_at: float
    ) -> None:
        """Handles a complete list (`EventHandler`)."""
        if kind is WatchedKind.JOBS:
            self._read_pods_of_failed(scope, statuses)
        with self._lock:
            if kind is WatchedKind.JOBS:
                self._emit_all(self.store.replace_jobs(scope, statuses, requested_at))
            else:
                self._emit_all(self.store.replace_pods(scope, statuses))

    def on_event(self, kind: WatchedKind, event: str, status: Any, item: Json) -> None:
        """Handles an event of a watch (`EventHandler`)."""
        store, deleted = self.store, event == "DELETED"
        if kind is WatchedKind.JOBS and not deleted:
            self._read_pods_of_failed(status.namespace, [status])
        with self._lock:
            if kind is WatchedKind.JOBS:
                updates = (store.delete_job if deleted else store.upsert_job)(status)
            else:
                updates = (store.delete_pod if deleted else store.upsert_pod)(status)
            self._emit_all(updates)
        if kind is WatchedKind.PODS:
            self._on_pod(event, status, item)

    def _emit_all(self, updates: Iterable[RuntimeUpdate]) -> None:
        for update in updates:
            self._emit(update)

    def _read_pods_of_failed(self, scope: str, jobs: Sequence[JobStatus]) -> None:
        """Reads the pods of Jobs that failed before the failure is emitted.

        The watch of pods may be late, and the cause of a failure is reported only once.
        """
        unexplained = self.query(lambda store: [*filter(store.needs_pods, jobs)])
        if not unexplained:
            return
        selector = f"{ATTEMPT}={unexplained[0].attempt}" if len(unexplained) == 1 else self.selector
        path = resource_path(WatchedKind.PODS, scope)
        with suppress(KubeApiError, KubeUnreachable):
            pods = self.cluster.kube.list_objects(path, selector, pod_status).items
            with self._lock:
                for pod in pods:
                    self._emit_all(self.store.upsert_pod(pod))
