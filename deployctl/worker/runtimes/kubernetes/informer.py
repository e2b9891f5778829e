"""Lists and watches for ever: what happens to Jobs and pods is heard of, whatever fails between.

Each kind of object in each scope has a thread of its own that lists, watches from there, and begins
anew at whatever goes wrong, with patience. A watch that ends, breaks or falls silent goes on where
it was; an ERROR of any code, and any other refusal, means listing again. So two connections carry
all that is heard of a cluster, and a watch can be late but never deaf.

Where the worker may not look into all namespaces, each one that has jobs is watched by itself.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, repeat
from typing import Any, TypeAlias, TypeVar

from deployctl.clients.kubernetes import Kube, KubeApiError, KubeUnreachable, Stream, watch_events
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.core.retry import Backoff
from deployctl.jobs.job_labels import ATTEMPT
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.model import Cause, Emit, RuntimeUpdate, WatchStatus
from deployctl.worker.runtimes.kubernetes.clusters import Cluster
from deployctl.worker.runtimes.kubernetes.job_store import ALL_NAMESPACES, JobStore, WatchedKind
from deployctl.worker.runtimes.kubernetes.status import (
    JobStatus,
    PodStatus,
    job_status,
    pod_status,
)
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

T = TypeVar("T")

_CALM = 5.0
"""Seconds after which a watch that ended counts as one that had worked."""

_PATHS = {WatchedKind.JOBS: "/apis/batch/v1", WatchedKind.PODS: "/api/v1"}
_KEEP: dict[WatchedKind, Callable[[Json], Any]] = {
    WatchedKind.JOBS: job_status,
    WatchedKind.PODS: pod_status,
}

PodHandler: TypeAlias = Callable[[str, PodStatus, Json], None]
"""Is told of a pod beside the news: ADDED, MODIFIED or DELETED, its facts, and its JSON."""


def resource_path(kind: WatchedKind, scope: str) -> str:
    """Where all objects of a kind are: in a namespace, or EVERYWHERE."""
    inside = "" if scope == ALL_NAMESPACES else f"/namespaces/{scope}"
    return f"{_PATHS[kind]}{inside}/{kind}"


class Reflector:
    """One kind of object in one scope: heard of from the first list on, until it is cut."""

    def __init__(
        self,
        kube: Kube,
        kind: WatchedKind,
        scope: str,
        selector: str,
        *,
        listed: Callable[[WatchedKind, str, list[Any], float], None],
        changed: Callable[[WatchedKind, str, Any, Json], None],
        clock: Callable[[], float],
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        """`listed` takes the facts of all objects and when they were asked for, by
        `time.monotonic`; `changed` an event's type, facts and object."""
        self.kind = kind
        self.scope = scope
        self.last_contact = 0.0
        self.problem = "not listed yet"
        self.forbidden = False
        """The worker may not list this."""
        self._kube = kube
        self._selector = selector
        self._listed = listed
        self._changed = changed
        self._clock = clock
        self._timings = timings
        self._version = ""
        self._stream: Stream | None = None
        self._over = False

    def run(self, stop: CancellationToken) -> None:
        """Hears until it is cut or a stop is asked for, whatever it hears."""
        waits = _patience(self._timings.watch_retry_max)
        while not (stop.is_cancelled or self._over):
            began = self._clock()
            try:
                self.hear()
            except (KubeApiError, KubeUnreachable) as error:
                self._note_failure(error, began)
            except Exception as error:
                self._version = ""
                self.problem = f"{type(error).__name__}: {error}"
            if self.last_contact >= began and self._clock() - began > _CALM:
                waits = _patience(self._timings.watch_retry_max)
            stop.wait(next(waits))

    def hear(self) -> None:
        """Lists if need be, then hears changes until the watch ends.

        Raises KubeApiError after which a list is needed, KubeUnreachable after which it is not.
        """
        try:
            if not self._version:
                self._list()
            path = resource_path(self.kind, self.scope)
            with self._kube.watch(
                path, self._selector, self._version, self._timings.watch_idle_timeout
            ) as stream:
                self._stream = stream
                self._note()
                if self._over:
                    return
                for kind, item in watch_events(stream):
                    if kind != "BOOKMARK":
                        self._changed(self.kind, kind, _KEEP[self.kind](item), item)
                    self._version = item["metadata"]["resourceVersion"]
                    self._note()
        except KubeApiError:
            self._version = ""
            raise

    def cut(self) -> None:
        """Ends it from any thread: a thread that waits for changes wakes up."""
        self._over = True
        if self._stream is not None:
            self._stream.abort()

    def _list(self) -> None:
        path = resource_path(self.kind, self.scope)
        requested_at = time.monotonic()
        listing = self._kube.list_objects(path, self._selector, _KEEP[self.kind])
        self._listed(self.kind, self.scope, listing.items, requested_at)
        self._version = listing.resource_version
        self._note()

    def _note(self) -> None:
        self.last_contact = self._clock()
        self.problem = ""
        self.forbidden = False

    def _note_failure(self, error: KubeApiError | KubeUnreachable, began: float) -> None:
        """A watch that was open before it failed is no problem unless it cannot be opened again."""
        self.forbidden = isinstance(error, KubeApiError) and error.status == 403
        if self.last_contact < began:
            self.problem = str(error)


class Informer:
    """All that is heard of one cluster: its feeds, and the picture that they give."""

    def __init__(
        self,
        cluster: Cluster,
        selector: str,
        *,
        emit: Emit,
        pod_heard: PodHandler,
        event_log: EventLog,
        clock: Callable[[], float],
        only: Iterable[str] = (),
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        """`only`: the namespaces to look into at first; none means everywhere."""
        self.cluster = cluster
        self.picture = JobStore(cluster.location, cluster.pid, cluster.ahead)
        self._selector = selector
        self._emit = emit
        self._pod_heard = pod_heard
        self._event_log = event_log
        self._clock = clock
        self._timings = timings
        self._lock = threading.Lock()
        self._feeds: list[Reflector] = []
        self._threads: dict[Reflector, threading.Thread] = {}
        self._everywhere = not tuple(only)
        self.picture.namespaces.update(only or (cluster.kube.namespace,))

    def add(self, namespace: str) -> None:
        """Looks into this namespace, too, from the next `look` on."""
        with self._lock:
            if namespace not in self.picture.namespaces:
                self._publish(self.picture.add(namespace))

    def scopes(self) -> set[str]:
        """Where it looks: namespaces, or EVERYWHERE."""
        with self._lock:
            return {ALL_NAMESPACES} if self._everywhere else set(self.picture.namespaces)

    def look(self, stop: CancellationToken) -> None:
        """Sees to it that every feed that should be there runs; to be called again and again."""
        if self._everywhere and any(feed.forbidden for feed in self._feeds):
            self._go_narrow()
        for scope in sorted(self.scopes() - {feed.scope for feed in self._feeds}):
            self._feeds += [self._feed(kind, scope) for kind in WatchedKind]
        for feed in self._feeds:
            if feed not in self._threads:
                self._threads[feed] = _thread(feed, stop)

    def end(self, seconds: float) -> None:
        """Ends all feeds, and waits for each as long as is said."""
        for feed in self._feeds:
            feed.cut()
        for thread in self._threads.values():
            thread.join(seconds)

    def watch_statuses(self) -> Iterator[WatchStatus]:
        """How well it hears, a line for each scope."""
        for scope in sorted({feed.scope for feed in self._feeds} or {ALL_NAMESPACES}):
            feeds = [feed for feed in self._feeds if feed.scope == scope]
            heard = min((feed.last_contact for feed in feeds), default=0.0)
            problems = [feed.problem for feed in feeds if feed.problem] if feeds else ["not begun"]
            problem = "; ".join(dict.fromkeys(problems))
            refused = any(feed.forbidden for feed in feeds)
            yield WatchStatus(self.cluster.location(scope or "*"), heard, problem, refused)

    def explain(self, attempt: str, cause: Cause | None) -> None:
        """Takes what Events say of a job that waits."""
        with self._lock:
            self._publish(self.picture.explained(attempt, cause))

    def ask(self, question: Callable[[JobStore], T]) -> T:
        """What the picture answers, in one piece."""
        with self._lock:
            return question(self.picture)

    def _publish(self, news: Iterable[RuntimeUpdate]) -> None:
        for each in news:
            self._emit(each)

    def _ask_pods(self, scope: str, jobs: Sequence[JobStatus]) -> None:
        """Reads the pods of Jobs that failed before it is told: the pods' watch may be late, and
        the cause is reported once."""
        unexplained = self.ask(lambda picture: [*filter(picture.is_unexplained, jobs)])
        if not unexplained:
            return
        only = f"{ATTEMPT}={unexplained[0].attempt}" if len(unexplained) == 1 else self._selector
        with suppress(KubeApiError, KubeUnreachable):
            pods = self.cluster.kube.list_objects(
                resource_path(WatchedKind.PODS, scope), only, pod_status
            ).items
            with self._lock:
                for pod in pods:
                    self._publish(self.picture.pod_seen(pod))

    def _listed(self, kind: WatchedKind, scope: str, facts: list[Any], requested_at: float) -> None:
        if kind is WatchedKind.JOBS:
            self._ask_pods(scope, facts)
        with self._lock:
            if kind is WatchedKind.JOBS:
                self._publish(self.picture.jobs_listed(scope, facts, requested_at))
            else:
                self._publish(self.picture.pods_listed(scope, facts))

    def _changed(self, kind: WatchedKind, event: str, facts: Any, item: Json) -> None:
        picture, gone = self.picture, event == "DELETED"
        if kind is WatchedKind.JOBS and not gone:
            self._ask_pods(facts.namespace, [facts])
        with self._lock:
            if kind is WatchedKind.JOBS:
                news = (picture.job_gone if gone else picture.job_seen)(facts)
            else:
                news = (picture.pod_gone if gone else picture.pod_seen)(facts)
            self._publish(news)
        if kind is WatchedKind.PODS:
            self._pod_heard(event, facts, item)

    def _feed(self, kind: WatchedKind, scope: str) -> Reflector:
        return Reflector(
            self.cluster.kube,
            kind,
            scope,
            self._selector,
            listed=self._listed,
            changed=self._changed,
            clock=self._clock,
            timings=self._timings,
        )

    def _go_narrow(self) -> None:
        """Looks into single namespaces from now on, because the worker may not look everywhere."""
        self._everywhere = False
        for feed in self._feeds:
            feed.cut()
        self._feeds, self._threads = [], {}
        with self._lock:
            self.picture.unlist(ALL_NAMESPACES)
            names = ", ".join(sorted(self.picture.namespaces))
        self._event_log.emit(
            Level.WARNING,
            EventName.WATCH_NARROWED,
            f"the worker may not list jobs and pods in all namespaces, so it looks into {names}, "
            "and wherever it creates jobs",
        )


def _thread(feed: Reflector, stop: CancellationToken) -> threading.Thread:
    name = f"watch-{feed.kind}-{feed.scope or 'all'}"
    thread = threading.Thread(target=feed.run, args=(stop,), name=name, daemon=True)
    thread.start()
    return thread


def _patience(longest: float) -> Iterator[float]:
    """Seconds to wait before the next try, the one after that, and so on without end."""
    draw = random.Random()
    waits = Backoff(tries=9, first=0.2, longest=longest).waits(draw)
    return chain(waits, repeat(longest))
