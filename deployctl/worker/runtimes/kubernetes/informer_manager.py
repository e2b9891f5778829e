"""Informers of a pool in all clusters, and what Jobs and pods do not say themselves.

That is: why a job gets no pod or a pod does not start (their Events, if the worker may list
them), the output of pods, and the events of pods that a Prefect 3 server keeps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from deployctl.clients.kubernetes import KubeApiError, KubeUnreachable
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.model import Emit, EventObserved, Job, WatchStatus
from deployctl.worker.runtimes.kubernetes.api_errors import events_cause
from deployctl.worker.runtimes.kubernetes.cluster_watch import ClusterWatch, ClusterWatches
from deployctl.worker.runtimes.kubernetes.clusters import Cluster, Clusters
from deployctl.worker.runtimes.kubernetes.informer import Informer
from deployctl.worker.runtimes.kubernetes.pod_events import pod_event
from deployctl.worker.runtimes.kubernetes.pod_logs import LogStreamer
from deployctl.worker.runtimes.kubernetes.reflector import ALL_NAMESPACES
from deployctl.worker.runtimes.kubernetes.status import JobStatus, PodStatus
from deployctl.worker.timings import Timings

_MAX_EVENT_READS = 10
"""Jobs whose Events are read in one step, to limit the load on the API server."""


class InformerManager:
    """Runs an informer for each cluster. `run` blocks; all else may be called from any thread."""

    def __init__(
        self,
        clusters: Clusters,
        selector: str,
        event_log: EventLog,
        *,
        clock: Callable[[], float],
        timings: Timings,
        namespaces: tuple[str, ...],
        pod_events: bool,
        watches: ClusterWatches | None = None,
        owner: str = "",
    ) -> None:
        """`namespaces` are those of the worker's own cluster to watch at first; none means all.

        `pod_events`: emit the phases of pods as events for the server. `watches` are those of all
        pools of the process, None: own ones; `owner` is the value of the label OWNER, by which they
        tell pools apart.
        """
        self._clusters = clusters
        self._selector = selector
        self._owner = owner
        self._watches = watches or ClusterWatches(
            event_log, clock=clock, namespaces=namespaces, timings=timings
        )
        self._event_log = event_log
        self._clock = clock
        self._timings = timings
        self._initial_namespaces = namespaces
        self._pod_events = pod_events
        self._lock = threading.Lock()
        self._namespaces: dict[str, set[str]] = {}
        """Namespaces that were added, by cluster key."""
        self._with_jobs: set[tuple[str, str]] = set()
        """Clusters and namespaces in which this process has created jobs."""
        self._informers: dict[str, tuple[Informer, ClusterWatch]] = {}
        """By cluster key."""
        self._events_read_at: dict[str, float] = {}
        """By attempt."""
        self._events_forbidden: set[str] = set()
        """Keys of clusters whose Events the worker may not list."""

    def add_namespace(self, cluster: Cluster, namespace: str) -> None:
        """Watches this namespace, too; takes effect whether or not `run` is running."""
        with self._lock:
            self._namespaces.setdefault(cluster.key, set()).add(namespace)
            informer, _ = self._informers.get(cluster.key, (None, None))
        if informer is not None:
            informer.add_namespace(namespace)

    def expect_jobs(self, cluster: Cluster, namespace: str) -> None:
        """Keeps watching this namespace, also if the worker may not list it: a job is there."""
        with self._lock:
            self._with_jobs.add((cluster.key, namespace))

    def scopes(self, cluster: Cluster) -> list[str]:
        """The scopes of a cluster that are or will be watched: namespaces, or ALL_NAMESPACES."""
        with self._lock:
            informer, watch = self._informers.get(cluster.key, (None, None))
            added = self._namespaces.get(cluster.key, set())
        if informer is None or watch is None:
            return sorted(added)
        scopes = watch.scopes()
        return sorted(scopes if ALL_NAMESPACES in scopes else informer.namespaces())

    def last_emitted(self, cluster: Cluster, attempt: str) -> Job | None:
        """The job of an attempt as it was emitted last."""
        informer, _ = self._informers.get(cluster.key, (None, None))
        return informer.query(lambda store: store.last_emitted(attempt)) if informer else None

    def watch_statuses(self) -> list[WatchStatus]:
        """The status of all watches."""
        with self._lock:
            informers = list(self._informers.values())
        if not informers:
            return [WatchStatus(self._clusters.own.location("*"), 0.0, "not started")]
        return [
            status
            for informer, watch in informers
            for status in informer.watch_statuses(watch.watch_statuses())
        ]

    def run(self, emit: Emit, cancellation: CancellationToken) -> None:
        """Emits all jobs, then their changes, until cancelled."""
        streamer = LogStreamer(emit, self._clock(), self._timings.log_reconnect_interval)
        try:
            while not cancellation.is_cancelled:
                informers = self._sync_informers(emit)
                for informer, watch in informers:
                    self._forget_refused(informer, watch)
                    watch.ensure_running()
                    self._read_events(informer)
                self._stream_logs([informer for informer, _ in informers], streamer)
                cancellation.wait(self._timings.informer_interval)
        finally:
            with self._lock:
                informers = list(self._informers.values())
                self._informers = {}
            streamer.stop()
            for informer, watch in informers:
                self._watches.unsubscribe(watch, informer, self._timings.informer_join_timeout)

    def _sync_informers(self, emit: Emit) -> list[tuple[Informer, ClusterWatch]]:
        """Creates an informer for each known cluster; replaces those with outdated credentials."""
        for cluster in self._clusters.all():
            previous, watch = self._informers.get(cluster.key, (None, None))
            if previous is not None and previous.cluster is cluster:
                continue
            if previous is not None and watch is not None:
                self._watches.unsubscribe(watch, previous, self._timings.informer_join_timeout)
                previous.cluster.kube.close()
                self._events_forbidden.discard(cluster.key)
            with self._lock:
                informer = self._create_informer(cluster, emit)
                seen = previous.store.namespaces if previous else set()
                for namespace in self._namespaces.get(cluster.key, set()) | seen:
                    informer.add_namespace(namespace)
                self._informers[cluster.key] = informer, self._watches.subscribe(cluster, informer)
        return list(self._informers.values())

    def _forget_refused(self, informer: Informer, watch: ClusterWatch) -> None:
        """Forgets namespaces that may not be listed and have no jobs: a deployment names a wrong
        one, or a namespace was deleted together with its RoleBinding."""
        key = informer.cluster.key
        for namespace in informer.refused_namespaces(watch.forbidden_scopes()):
            with self._lock:
                if (key, namespace) in self._with_jobs:
                    continue
                self._namespaces.get(key, set()).discard(namespace)
            informer.remove_namespace(namespace)

    def _create_informer(self, cluster: Cluster, emit: Emit) -> Informer:
        return Informer(
            cluster,
            self._owner,
            self._selector,
            emit=emit,
            on_pod=_PodEvents(emit, self._clock) if self._pod_events else _ignore_pod,
            namespaces=() if cluster.key else self._initial_namespaces,
        )

    @staticmethod
    def _stream_logs(informers: Sequence[Informer], streamer: LogStreamer) -> None:
        """Streams the logs of pods of all clusters; the streamer forgets all other pods."""
        uids: list[str] = []
        for informer in informers:
            for pod in informer.query(lambda store: list(store.pods_to_stream())):
                streamer.add(informer.cluster.kube, pod)
                uids.append(pod.uid)
        streamer.retain(uids)

    def _read_events(self, informer: Informer) -> None:
        """Reads the Events of jobs that wait without a cause."""
        now = self._clock()
        if informer.cluster.key in self._events_forbidden:
            return
        timings = self._timings
        since = now - timings.unexplained_after
        waits = informer.query(lambda store: list(store.unexplained(since)))
        due = [
            (job, pods)
            for job, pods in waits
            if now - self._events_read_at.get(job.attempt, 0.0) > timings.events_interval
        ]
        self._events_read_at = {
            attempt: at
            for attempt, at in self._events_read_at.items()
            if now - at <= timings.events_interval
        }
        for job, pods in due[:_MAX_EVENT_READS]:
            self._events_read_at[job.attempt] = now
            try:
                cause = events_cause(list(_list_events(informer.cluster, job, pods)))
            except KubeUnreachable:
                return
            except KubeApiError as error:
                if error.status == 403:
                    self._disable_events(informer.cluster)
                return
            informer.set_event_cause(job.attempt, cause)

    def _disable_events(self, cluster: Cluster) -> None:
        self._events_forbidden.add(cluster.key)
        self._event_log.emit(
            Level.INFO,
            EventName.EVENTS_FORBIDDEN,
            "the worker may not list events, so it cannot say why a job gets no pod",
        )


class _PodEvents:
    """`PodHandler` that emits each phase of a pod once."""

    def __init__(self, emit: Emit, clock: Callable[[], float]) -> None:
        self._emit = emit
        self._clock = clock
        self._last: dict[str, Json] = {}
        """Id and time of the previous event, by pod uid."""

    def __call__(self, event_type: str, pod: PodStatus, item: Json) -> None:
        if event_type == "DELETED":
            self._last.pop(pod.uid, None)
            return
        previous = self._last.get(pod.uid)
        event = pod_event(item, self._clock(), previous)
        if event is not None and event["id"] != (previous or {}).get("id"):
            self._last[pod.uid] = {name: event[name] for name in ("id", "occurred")}
            self._emit(EventObserved(pod.attempt, event))


def _ignore_pod(_event_type: str, _pod: PodStatus, _item: Json) -> None:
    """`PodHandler` for servers that keep no events."""


def _list_events(cluster: Cluster, job: JobStatus, pods: tuple[PodStatus, ...]) -> Iterator[Json]:
    """The Events about a job's pods, or about its Job if it has none."""
    path = f"/api/v1/namespaces/{job.namespace}/events"
    for uid in [pod.uid for pod in pods] or [job.uid]:
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": "50"}
        yield from cluster.kube.request("GET", path, query=query).get("items") or ()
