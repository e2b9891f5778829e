"""The reflectors of one cluster, shared by the informers of all pools of a process.

Jobs and pods are watched by one thread each, in all namespaces, whatever the number of pools: the
selector names the owners of all of them. Where the worker may not list all namespaces, each
namespace with jobs is watched separately.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.jobs.job_labels import ATTEMPT, OWNER
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.model import WatchStatus
from deployctl.worker.runtimes.kubernetes.clusters import Cluster
from deployctl.worker.runtimes.kubernetes.reflector import (
    ALL_NAMESPACES,
    EventHandler,
    Reflector,
    WatchedKind,
)
from deployctl.worker.timings import Timings


class Subscriber(EventHandler, Protocol):
    """An informer: receives the objects of one owner."""

    owner: str
    """Value of the label OWNER."""
    selector: str

    def namespaces(self) -> set[str]:
        """Returns the namespaces that have, had or may get jobs."""

    def drop_scope(self, scope: str) -> None:
        """Forgets that a scope was listed, because it is not watched any more."""


class ClusterWatch:
    """Watches the Jobs and pods of one cluster for its subscribers. Thread-safe."""

    def __init__(
        self,
        cluster: Cluster,
        event_log: EventLog,
        *,
        clock: Callable[[], float],
        namespaces: Iterable[str],
        timings: Timings,
    ) -> None:
        """`namespaces` are the ones to watch at first; none means all."""
        self._cluster = cluster
        self._event_log = event_log
        self._clock = clock
        self._timings = timings
        self._lock = threading.RLock()
        self._subscribers: dict[str, Subscriber] = {}
        self._reflectors: dict[Reflector, _Router] = {}
        self._threads: dict[Reflector, threading.Thread] = {}
        self._all_namespaces = not tuple(namespaces)
        self._stopped = CancellationToken()
        self._outdated = False
        """Subscribers have changed since the reflectors were created."""
        self._created_at = 0.0

    def subscribe(self, subscriber: Subscriber) -> None:
        """Delivers the objects of this owner, too, starting with a list of them."""
        with self._lock:
            self._subscribers[subscriber.owner] = subscriber
            self._outdated = True

    def unsubscribe(self, subscriber: Subscriber, timeout: float) -> bool:
        """Delivers nothing of this owner any more; returns whether another subscriber is left.

        Without one, all threads are stopped, and waited for up to `timeout` seconds each.
        """
        with self._lock:
            if self._subscribers.get(subscriber.owner) is subscriber:
                del self._subscribers[subscriber.owner]
            self._outdated = True
            if self._subscribers:
                return True
            self._stopped.cancel()
            threads = list(self._threads.values())
            _stop(self._reflectors)
            self._reflectors, self._threads = {}, {}
        for thread in threads:
            thread.join(timeout)
        return False

    def scopes(self) -> set[str]:
        """The scopes that are watched: namespaces, or ALL_NAMESPACES."""
        with self._lock:
            if self._all_namespaces:
                return {ALL_NAMESPACES}
            return {name for each in self._subscribers.values() for name in each.namespaces()}

    def ensure_running(self) -> None:
        """Starts the reflectors that are missing. To be called periodically.

        If many subscribe one after the other, the lists are read again once per interval.
        """
        with self._lock:
            if self._outdated and not self._renew():
                return
            if self._all_namespaces and any(each.forbidden for each in self._reflectors):
                self._fall_back_to_namespaces()
            scopes = self.scopes()
            self._stop_needless(scopes)
            for scope in sorted(scopes - {each.scope for each in self._reflectors}):
                for kind in WatchedKind:
                    self._reflectors = self._reflectors | self._reflector(kind, scope)
            for reflector in self._reflectors:
                if reflector not in self._threads:
                    self._threads[reflector] = _start_thread(reflector, self._stopped)

    def forbidden_scopes(self) -> set[str]:
        """The scopes that the worker may not list."""
        return {each.scope for each in list(self._reflectors) if each.forbidden}

    def watch_statuses(self) -> Iterator[WatchStatus]:
        """The status of the watches, one for each scope; `location` is that of the scope."""
        all_reflectors = list(
            self._reflectors
        )  # without the lock, which `_renew` may hold for long
        for scope in sorted({each.scope for each in all_reflectors} or {ALL_NAMESPACES}):
            reflectors = [each for each in all_reflectors if each.scope == scope]
            problems = [each.problem for each in reflectors if each.problem]
            yield WatchStatus(
                scope,
                min((each.last_contact for each in reflectors), default=0.0),
                "; ".join(dict.fromkeys(problems)) if reflectors else "not started",
                any(each.forbidden for each in reflectors),
            )

    def _stop_needless(self, scopes: set[str]) -> None:
        """Stops watching what is not among the scopes any more."""
        needless = {each for each in self._reflectors if each.scope not in scopes}
        _stop({each: router for each, router in self._reflectors.items() if each in needless})
        self._reflectors = {
            each: router for each, router in self._reflectors.items() if each not in needless
        }
        for each in needless:
            self._threads.pop(each, None)

    def _renew(self) -> bool:
        """Replaces the reflectors by those of the present subscribers, unless that was just done.

        The new ones begin with the status of the old ones, as before any list that is read again:
        what the informers know stays true.
        """
        now = time.monotonic()
        if self._reflectors and now - self._created_at < self._timings.informer_interval:
            return False
        renewed: dict[Reflector, _Router] = {}
        for each in self._reflectors:
            renewed |= self._reflector(each.kind, each.scope, each)
        _stop(self._reflectors)
        self._reflectors, self._threads = renewed, {}
        self._outdated, self._created_at = False, now
        return True

    def _reflector(
        self, kind: WatchedKind, scope: str, previous: Reflector | None = None
    ) -> dict[Reflector, _Router]:
        router = _Router(dict(self._subscribers))
        reflector = Reflector(
            self._cluster.kube,
            kind,
            scope,
            router.selector,
            router,
            self._event_log,
            clock=self._clock,
            timings=self._timings,
        )
        if previous is not None:
            reflector.last_contact, reflector.problem = previous.last_contact, previous.problem
            reflector.forbidden = previous.forbidden
        return {reflector: router}

    def _fall_back_to_namespaces(self) -> None:
        """Watches single namespaces from now on, because the worker may not list all of them."""
        self._all_namespaces = False
        _stop(self._reflectors)
        self._reflectors, self._threads = {}, {}
        for each in self._subscribers.values():
            each.drop_scope(ALL_NAMESPACES)
        self._event_log.emit(
            Level.WARNING,
            EventName.WATCH_NARROWED,
            "the worker may not list jobs and pods in all namespaces, so it watches only "
            f"{', '.join(sorted(self.scopes()))} and the namespaces in which it creates jobs",
        )


class ClusterWatches:
    """The `ClusterWatch` of each cluster that the pools of a process need."""

    def __init__(
        self,
        event_log: EventLog,
        *,
        clock: Callable[[], float],
        namespaces: tuple[str, ...],
        timings: Timings,
    ) -> None:
        """`namespaces` are those of the worker's own cluster to watch at first; none means all."""
        self._event_log = event_log
        self._clock = clock
        self._namespaces = namespaces
        self._timings = timings
        self._lock = threading.Lock()
        self._watches: dict[str, tuple[Cluster, ClusterWatch]] = {}
        """By cluster key."""

    def subscribe(self, cluster: Cluster, subscriber: Subscriber) -> ClusterWatch:
        """Subscribes to the watch of a cluster; of a new one, if its credentials were renewed."""
        with self._lock:
            watched, watch = self._watches.get(cluster.key, (None, None))
            if watch is None or watched is not cluster:
                watch = ClusterWatch(
                    cluster,
                    self._event_log,
                    clock=self._clock,
                    namespaces=() if cluster.key else self._namespaces,
                    timings=self._timings,
                )
                self._watches[cluster.key] = cluster, watch
            watch.subscribe(subscriber)
            return watch

    def unsubscribe(self, watch: ClusterWatch, subscriber: Subscriber, timeout: float) -> None:
        """Ends a subscription; the last one ends the watch."""
        with self._lock:
            if not watch.unsubscribe(subscriber, timeout):
                self._watches = {
                    k: each for k, each in self._watches.items() if each[1] is not watch
                }


class _Router:
    """`EventHandler` of one reflector: passes on to each subscriber what it owns.

    After `close`, nothing is passed on: what a stopped reflector still receives may be older than
    what its successor has listed.
    """

    def __init__(self, subscribers: Mapping[str, Subscriber]) -> None:
        self._subscribers = subscribers
        self._lock = threading.Lock()
        self._closed = False

    @property
    def selector(self) -> str:
        """Label selector of everything that any subscriber owns."""
        if len(self._subscribers) == 1:
            return next(iter(self._subscribers.values())).selector
        return f"{OWNER} in ({','.join(sorted(self._subscribers))}),{ATTEMPT}"

    def close(self) -> None:
        """Waits for a delivery that has begun, and allows no more."""
        with self._lock:
            self._closed = True

    def on_list(
        self, kind: WatchedKind, scope: str, statuses: list[Any], requested_at: float
    ) -> None:
        """Passes a list on in parts; who owns nothing gets an empty one."""
        with self._lock:
            for owner, each in self._subscribers.items() if not self._closed else ():
                own = [status for status in statuses if self._owns(owner, status)]
                each.on_list(kind, scope, own, requested_at)

    def on_event(self, kind: WatchedKind, event: str, status: Any, item: Json) -> None:
        """Passes an event on to the owner of its object."""
        with self._lock:
            for owner, each in self._subscribers.items() if not self._closed else ():
                if self._owns(owner, status):
                    each.on_event(kind, event, status, item)

    def _owns(self, owner: str, status: Any) -> bool:
        """A selector of one owner selects nothing else."""
        return len(self._subscribers) == 1 or status.owner == owner


def _stop(reflectors: Mapping[Reflector, _Router]) -> None:
    for reflector, router in reflectors.items():
        reflector.stop()
        router.close()


def _start_thread(reflector: Reflector, cancellation: CancellationToken) -> threading.Thread:
    name = f"watch-{reflector.kind}-{reflector.scope or 'all'}"
    thread = threading.Thread(target=reflector.run, args=(cancellation,), name=name, daemon=True)
    thread.start()
    return thread
