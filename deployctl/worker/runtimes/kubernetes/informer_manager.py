"""Looks after all that is heard of all clusters, and adds what Jobs and pods don't say themselves.

That is: why a job gets no pod or a pod no start (their Events, where the worker may read them),
what a pod prints, and the events that a Prefect 3 server keeps of pods.
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
from deployctl.worker.runtimes.kubernetes.clusters import Cluster, Clusters
from deployctl.worker.runtimes.kubernetes.informer import Informer
from deployctl.worker.runtimes.kubernetes.pod_events import pod_event
from deployctl.worker.runtimes.kubernetes.pod_logs import LogStreamer
from deployctl.worker.runtimes.kubernetes.status import JobStatus, PodStatus
from deployctl.worker.timings import Timings

_LOOK_SECONDS = 0.5
_END_SECONDS = 2.0
"""How long a thread may take to end; it is a daemon and holds nothing."""

UNEXPLAINED_AFTER = 10.0
"""Seconds that a job waits without a reason before its Events are read."""

EVENTS_INTERVAL = 30.0
"""Seconds until they are read once more."""

_MOST_ASKED = 10
"""Jobs whose Events are read in one look: the API server has other things to do."""


class InformerManager:
    """Hears of the jobs in all clusters. `run` does it; everything else may be called any time."""

    def __init__(
        self,
        clusters: Clusters,
        selector: str,
        event_log: EventLog,
        *,
        clock: Callable[[], float],
        timings: Timings,
        only: tuple[str, ...],
        pod_events: bool,
    ) -> None:
        """`only`: the namespaces to look into at first, of the worker's own cluster; none: all."""
        self._clusters = clusters
        self._selector = selector
        self._event_log = event_log
        self._clock = clock
        self._timings = timings
        self._only = only
        self._pod_events = pod_events
        self._lock = threading.Lock()
        self._wanted: dict[str, set[str]] = {}
        self._lookouts: dict[str, Informer] = {}
        self._asked: dict[str, float] = {}
        self._blind: set[str] = set()
        """Clusters whose Events may not be read."""

    def look_into(self, cluster: Cluster, namespace: str) -> None:
        """Hears of this namespace, too, whenever it hears at all."""
        with self._lock:
            self._wanted.setdefault(cluster.key, set()).add(namespace)
            lookout = self._lookouts.get(cluster.key)
        if lookout is not None:
            lookout.add(namespace)

    def scopes(self, cluster: Cluster) -> list[str]:
        """Where in a cluster it looks, or is going to: namespaces, or EVERYWHERE."""
        with self._lock:
            lookout = self._lookouts.get(cluster.key)
            wanted = self._wanted.get(cluster.key, set())
        return sorted(wanted if lookout is None else lookout.scopes())

    def told(self, cluster: Cluster, attempt: str) -> Job | None:
        """What was told last of a job."""
        lookout = self._lookouts.get(cluster.key)
        return lookout.ask(lambda picture: picture.told(attempt)) if lookout else None

    def watch_statuses(self) -> list[WatchStatus]:
        """How well it hears."""
        with self._lock:
            lookouts = list(self._lookouts.values())
        if not lookouts:
            return [WatchStatus(self._clusters.own.location("*"), 0.0, "not begun")]
        return [watch for lookout in lookouts for watch in lookout.watch_statuses()]

    def run(self, emit: Emit, stop: CancellationToken) -> None:
        """Hears until asked to stop."""
        followers = LogStreamer(emit, self._clock())
        try:
            while not stop.is_cancelled:
                lookouts = self._posted(emit)
                for lookout in lookouts:
                    lookout.look(stop)
                    self._explain(lookout)
                self._follow(lookouts, followers)
                stop.wait(_LOOK_SECONDS)
        finally:
            with self._lock:
                lookouts = list(self._lookouts.values())
                self._lookouts = {}
            followers.end()
            for lookout in lookouts:
                lookout.end(_END_SECONDS)

    def _posted(self, emit: Emit) -> list[Informer]:
        """A lookout for every cluster that is known by now, with the credentials that are in use
        now."""
        for cluster in self._clusters.all():
            before = self._lookouts.get(cluster.key)
            if before is not None and before.cluster is cluster:
                continue
            if before is not None:
                before.end(_END_SECONDS)
                before.cluster.kube.close()
                self._blind.discard(cluster.key)
            with self._lock:
                lookout = self._lookout(cluster, emit)
                seen = before.picture.namespaces if before else set()
                for namespace in self._wanted.get(cluster.key, set()) | seen:
                    lookout.add(namespace)
                self._lookouts[cluster.key] = lookout
        return list(self._lookouts.values())

    def _lookout(self, cluster: Cluster, emit: Emit) -> Informer:
        return Informer(
            cluster,
            self._selector,
            emit=emit,
            pod_heard=_PodEvents(emit, self._clock) if self._pod_events else _deaf,
            event_log=self._event_log,
            clock=self._clock,
            only=() if cluster.key else self._only,
            timings=self._timings,
        )

    @staticmethod
    def _follow(lookouts: Sequence[Informer], followers: LogStreamer) -> None:
        """Pods of all clusters at once: what is not among them is forgotten."""
        met: list[str] = []
        for lookout in lookouts:
            for pod in lookout.ask(lambda picture: list(picture.streaming())):
                followers.follow(lookout.cluster.kube, pod)
                met.append(pod.uid)
        followers.keep(met)

    def _explain(self, lookout: Informer) -> None:
        """Reads the Events of jobs that wait, nobody knows what for."""
        now = self._clock()
        if lookout.cluster.key in self._blind:
            return
        puzzling = lookout.ask(lambda picture: list(picture.puzzling(now - UNEXPLAINED_AFTER)))
        fresh = [p for p in puzzling if now - self._asked.get(p[0].attempt, 0.0) > EVENTS_INTERVAL]
        self._asked = {a: at for a, at in self._asked.items() if now - at <= EVENTS_INTERVAL}
        for job, pods in fresh[:_MOST_ASKED]:
            self._asked[job.attempt] = now
            try:
                cause = events_cause(list(_events(lookout.cluster, job, pods)))
            except KubeUnreachable:
                return
            except KubeApiError as error:
                if error.status == 403:
                    self._stay_blind(lookout.cluster)
                return
            lookout.explain(job.attempt, cause)

    def _stay_blind(self, cluster: Cluster) -> None:
        self._blind.add(cluster.key)
        self._event_log.emit(
            Level.INFO,
            EventName.EVENTS_FORBIDDEN,
            "the worker may not list events, so it cannot say why a job gets no pod",
        )


class _PodEvents:
    """Tells of each phase of a pod once."""

    def __init__(self, emit: Emit, clock: Callable[[], float]) -> None:
        self._emit = emit
        self._clock = clock
        self._last: dict[str, Json] = {}
        """By pod uid: id and time of the event before."""

    def __call__(self, what: str, pod: PodStatus, item: Json) -> None:
        before = self._last.get(pod.uid)
        event = None if what == "DELETED" else pod_event(item, self._clock(), before)
        if event is not None and event["id"] != (before or {}).get("id"):
            self._last[pod.uid] = {name: event[name] for name in ("id", "occurred")}
            self._emit(EventObserved(pod.attempt, event))
        if what == "DELETED":
            self._last.pop(pod.uid, None)


def _deaf(_what: str, _pod: PodStatus, _item: Json) -> None:
    """For servers that keep no events."""


def _events(cluster: Cluster, job: JobStatus, pods: tuple[PodStatus, ...]) -> Iterator[Json]:
    path = f"/api/v1/namespaces/{job.namespace}/events"
    for uid in [pod.uid for pod in pods] or [job.uid]:
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": "50"}
        yield from cluster.kube.request("GET", path, query=query).get("items") or ()
