"""Informer of one cluster: its reflectors, and the store that they feed.

Jobs and pods are watched by one thread each, in all namespaces. Where the worker may not list all
namespaces, each namespace with jobs is watched separately.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

from deployctl.clients.kubernetes import KubeApiError, KubeUnreachable
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.jobs.job_labels import ATTEMPT
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.model import Cause, Emit, RuntimeUpdate, WatchStatus
from deployctl.worker.runtimes.kubernetes.clusters import Cluster
from deployctl.worker.runtimes.kubernetes.job_store import JobStore
from deployctl.worker.runtimes.kubernetes.reflector import (
    ALL_NAMESPACES,
    Reflector,
    WatchedKind,
    resource_path,
)
from deployctl.worker.runtimes.kubernetes.status import JobStatus, PodStatus, pod_status
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

T = TypeVar("T")

PodHandler: TypeAlias = Callable[[str, PodStatus, Json], None]
"""Called for each event of a pod: ADDED, MODIFIED or DELETED, its status, and its JSON."""


class Informer:
    """Watches the Jobs and pods of one cluster and emits their changes."""

    def __init__(
        self,
        cluster: Cluster,
        selector: str,
        *,
        emit: Emit,
        on_pod: PodHandler,
        event_log: EventLog,
        clock: Callable[[], float],
        namespaces: Iterable[str] = (),
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        """`namespaces` are the ones to watch at first; none means all."""
        self.cluster = cluster
        self.store = JobStore(cluster.location, cluster.pid, cluster.clock_offset)
        self._selector = selector
        self._emit = emit
        self._on_pod = on_pod
        self._event_log = event_log
        self._clock = clock
        self._timings = timings
        self._lock = threading.Lock()
        self._reflectors: list[Reflector] = []
        self._threads: dict[Reflector, threading.Thread] = {}
        self._all_namespaces = not tuple(namespaces)
        self._initial_namespaces = frozenset(namespaces or (cluster.kube.namespace,))
        self.store.namespaces.update(self._initial_namespaces)

    def add_namespace(self, namespace: str) -> None:
        """Watches this namespace, too, from the next `ensure_running` on."""
        with self._lock:
            if namespace not in self.store.namespaces:
                self._emit_all(self.store.add_namespace(namespace))

    def refused_namespaces(self) -> list[str]:
        """Namespaces that were added, may not be listed, and have no jobs."""
        refused = {each.scope for each in self._reflectors if each.forbidden}
        added = refused - self._initial_namespaces - {ALL_NAMESPACES}
        with self._lock:
            return [each for each in added if not self.store.has_jobs(each)]

    def remove_namespace(self, namespace: str) -> None:
        """Does not watch this namespace any more."""
        for reflector in [each for each in self._reflectors if each.scope == namespace]:
            reflector.stop()
            self._reflectors.remove(reflector)
            self._threads.pop(reflector, None)
        with self._lock:
            self.store.drop_scope(namespace)
            self.store.namespaces.discard(namespace)

    def scopes(self) -> set[str]:
        """The scopes that are watched: namespaces, or ALL_NAMESPACES."""
        with self._lock:
            return {ALL_NAMESPACES} if self._all_namespaces else set(self.store.namespaces)

    def ensure_running(self, cancellation: CancellationToken) -> None:
        """Starts the reflectors that are missing. To be called periodically."""
        if self._all_namespaces and any(each.forbidden for each in self._reflectors):
            self._fall_back_to_namespaces()
        for scope in sorted(self.scopes() - {each.scope for each in self._reflectors}):
            self._reflectors += [self._reflector(kind, scope) for kind in WatchedKind]
        for reflector in self._reflectors:
            if reflector not in self._threads:
                self._threads[reflector] = _start_thread(reflector, cancellation)

    def stop(self, timeout: float) -> None:
        """Stops all reflectors, and waits for each thread up to `timeout` seconds."""
        for reflector in self._reflectors:
            reflector.stop()
        for thread in self._threads.values():
            thread.join(timeout)

    def watch_statuses(self) -> Iterator[WatchStatus]:
        """The status of the watches, one for each scope."""
        for scope in sorted({each.scope for each in self._reflectors} or {ALL_NAMESPACES}):
            reflectors = [each for each in self._reflectors if each.scope == scope]
            problems = [each.problem for each in reflectors if each.problem]
            yield WatchStatus(
                self.cluster.location(scope or "*"),
                min((each.last_contact for each in reflectors), default=0.0),
                "; ".join(dict.fromkeys(problems)) if reflectors else "not started",
                any(each.forbidden for each in reflectors),
            )

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
        selector = (
            f"{ATTEMPT}={unexplained[0].attempt}" if len(unexplained) == 1 else self._selector
        )
        path = resource_path(WatchedKind.PODS, scope)
        with suppress(KubeApiError, KubeUnreachable):
            pods = self.cluster.kube.list_objects(path, selector, pod_status).items
            with self._lock:
                for pod in pods:
                    self._emit_all(self.store.upsert_pod(pod))

    def _reflector(self, kind: WatchedKind, scope: str) -> Reflector:
        return Reflector(
            self.cluster.kube,
            kind,
            scope,
            self._selector,
            self,
            self._event_log,
            clock=self._clock,
            timings=self._timings,
        )

    def _fall_back_to_namespaces(self) -> None:
        """Watches single namespaces from now on, because the worker may not list all of them."""
        self._all_namespaces = False
        for reflector in self._reflectors:
            reflector.stop()
        self._reflectors, self._threads = [], {}
        with self._lock:
            self.store.drop_scope(ALL_NAMESPACES)
            names = ", ".join(sorted(self.store.namespaces))
        self._event_log.emit(
            Level.WARNING,
            EventName.WATCH_NARROWED,
            "the worker may not list jobs and pods in all namespaces, so it watches only "
            f"{names} and the namespaces in which it creates jobs",
        )


def _start_thread(reflector: Reflector, cancellation: CancellationToken) -> threading.Thread:
    name = f"watch-{reflector.kind}-{reflector.scope or 'all'}"
    thread = threading.Thread(target=reflector.run, args=(cancellation,), name=name, daemon=True)
    thread.start()
    return thread
