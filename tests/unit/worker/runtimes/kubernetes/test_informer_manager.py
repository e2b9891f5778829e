"""Informers of several clusters, which are fakes with constant contents."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, cast

import pytest

from deployctl.clients.kubernetes import KubeApiError, KubeClient, Listing
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.worker.model import JobsListed, LinePrinted, RuntimeUnavailable, RuntimeUpdate
from deployctl.worker.runtimes.kubernetes.clusters import Clusters
from deployctl.worker.runtimes.kubernetes.informer_manager import InformerManager
from deployctl.worker.timings import Timings
from tests.support.kubernetes_jobs import RecordingEventLog
from tests.unit.worker.runtimes.kubernetes.objects import job, pod

SECONDS = 30.0
LOOKS = 20


class SilentWatch:
    """A watch without events until it is aborted."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def __enter__(self) -> SilentWatch:
        return self

    def __exit__(self, *exception: object) -> None:
        self.abort()

    def __iter__(self) -> Iterator[bytes]:
        self._over.wait(SECONDS)
        return iter(())

    def abort(self) -> None:
        self._over.set()


class FakeCluster:
    """A cluster with one job, whose pod has ended and printed the cluster's name."""

    namespace = "flows"
    source = "context 'lab'"
    clock = staticmethod(lambda: 0.0)

    def __init__(self, name: str) -> None:
        self.host = f"https://{name}"
        self._name = name

    def identity(self) -> bytes:
        return self.host.encode()

    def request(self, _method: str, _path: str, **_more: Any) -> Json:
        return {"metadata": {"uid": self._name}}

    def list_objects(self, path: str, _selector: str, keep: Callable[[Json], Any]) -> Listing:
        made = job() if path.endswith("jobs") else pod("Succeeded")
        made["metadata"]["uid"] = f"{self._name}-{made['metadata']['uid']}"
        return Listing([keep(made)], "1")

    def watch(self, *_which: object) -> SilentWatch:
        return SilentWatch()

    def close(self) -> None:
        """There are no connections."""

    @contextmanager
    def follow_log(self, _path: str, _query: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        yield iter([f"2026-01-01T00:00:00.000000001Z {self._name}".encode()])


def test_watch_restarts_after_an_unreadable_object() -> None:
    stop, heard, tries = CancellationToken(), threading.Event(), count()

    class Odd(FakeCluster):
        def list_objects(self, path: str, selector: str, keep: Callable[[Json], Any]) -> Listing:
            if path.endswith("jobs") and next(tries) == 0:
                return Listing([keep({"metadata": {"creationTimestamp": "soon"}})], "1")
            return super().list_objects(path, selector, keep)

    def emit(news: RuntimeUpdate) -> None:
        if isinstance(news, JobsListed) and news.jobs:
            heard.set()

    event_log = RecordingEventLog()
    clusters = Clusters(lambda _: cast(KubeClient, Odd("own")), event_log)
    manager = InformerManager(
        clusters,
        "",
        event_log,
        clock=lambda: 0.0,
        timings=Timings(watch_idle_timeout=SECONDS),
        namespaces=(),
        pod_events=False,
    )
    thread = threading.Thread(target=manager.run, args=(emit, stop))
    thread.start()
    try:
        assert heard.wait(SECONDS)
    finally:
        stop.cancel()
        thread.join()
    assert [event for _, event, _ in event_log.entries] == ["worker.internal_error"]


def test_unresponsive_cluster_does_not_block_others() -> None:
    asked, answered = threading.Event(), threading.Event()

    class Slow(FakeCluster):
        def request(self, _method: str, _path: str, **_more: Any) -> Json:
            asked.set()
            assert answered.wait(SECONDS)
            return super().request("GET", "")

    def connect(config: Mapping[str, Json] | None) -> KubeClient:
        return cast(KubeClient, Slow("slow") if config else FakeCluster("own"))

    clusters = Clusters(connect, RecordingEventLog())
    thread = threading.Thread(
        target=clusters.for_configuration, args=({"cluster_config": {"config": "slow"}},)
    )
    thread.start()
    try:
        assert asked.wait(SECONDS)
        looking = threading.Thread(target=clusters.all, daemon=True)
        looking.start()
        looking.join(SECONDS / 10)
        assert not looking.is_alive()
    finally:
        answered.set()
        thread.join()
    assert [cluster.uid for cluster in clusters.all()] == ["own", "slow"]


def renewed(token: str) -> Mapping[str, Json]:
    """The configuration of a job in the same cluster with another token."""
    return {"cluster_config": {"config": "other", "token": token}}


class GuardedCluster(FakeCluster):
    """A cluster that accepts any token except `expired`."""

    def __init__(self, config: Mapping[str, Json]) -> None:
        super().__init__(config["config"])
        self.token = config["token"]

    def request(self, _method: str, _path: str, **more: Any) -> Json:
        if self.token == "expired":
            raise KubeApiError(401, "Unauthorized", "Unauthorized")
        return super().request(_method, _path, **more)


def guarded(config: Mapping[str, Json] | None) -> KubeClient:
    return cast(KubeClient, GuardedCluster(config) if config else FakeCluster("own"))


def tokens(clusters: Clusters) -> list[str]:
    return [str(getattr(each.kube, "token", "")) for each in clusters.all()]


def test_renewed_credentials_are_used() -> None:
    clusters = Clusters(guarded, RecordingEventLog())
    for token in ("old", "new", "old", "new"):
        clusters.for_configuration(renewed(token))
    assert tokens(clusters) == ["", "new"]


def test_rejected_credentials_are_not_used() -> None:
    clusters = Clusters(guarded, RecordingEventLog())
    clusters.for_configuration(renewed("old"))
    with pytest.raises(RuntimeUnavailable, match="context 'lab'"):
        clusters.for_configuration(renewed("expired"))
    assert tokens(clusters) == ["", "old"]


def test_informer_is_replaced_when_credentials_are_renewed() -> None:
    watched: queue.Queue[str] = queue.Queue()

    class Watched(GuardedCluster):
        def watch(self, *which: object) -> SilentWatch:
            watched.put(self.token)
            return super().watch(*which)

    clusters = Clusters(
        lambda c: cast(KubeClient, Watched(c) if c else FakeCluster("own")), RecordingEventLog()
    )
    clusters.for_configuration(renewed("old"))
    manager = InformerManager(
        clusters,
        "",
        RecordingEventLog(),
        clock=lambda: 0.0,
        timings=Timings(watch_idle_timeout=SECONDS),
        namespaces=(),
        pod_events=False,
    )
    stop = CancellationToken()
    thread = threading.Thread(target=manager.run, args=(lambda _: None, stop))
    thread.start()
    try:
        assert {watched.get(timeout=SECONDS) for _ in range(2)} == {"old"}
        clusters.for_configuration(renewed("new"))
        assert {watched.get(timeout=SECONDS) for _ in range(2)} == {"new"}
    finally:
        stop.cancel()
        thread.join()


@pytest.mark.parametrize("ahead", [0.0, 600.0, -600.0])
def test_clock_offset_is_stable(ahead: float) -> None:
    ticks = count()

    def clock() -> float:
        return ahead + next(ticks) * 1e-6

    clusters = Clusters(
        lambda _: cast(KubeClient, FakeCluster("own")), RecordingEventLog(), clock=clock
    )
    assert {clusters.own.clock_offset() for _ in range(10)} == {ahead}


def test_pods_of_several_clusters_are_streamed_once() -> None:
    event_log, stop, looked, looks = (
        RecordingEventLog(),
        CancellationToken(),
        threading.Event(),
        count(),
    )
    printed: list[str] = []

    def connect(config: Mapping[str, Json] | None) -> KubeClient:
        return cast(KubeClient, FakeCluster(config["config"] if config else "own"))

    def emit(news: RuntimeUpdate) -> None:
        if isinstance(news, LinePrinted):
            printed.append(news.line)

    def clock() -> float:
        if len({*printed}) == 2 and next(looks) > LOOKS:
            looked.set()
        return 0.0

    clusters = Clusters(connect, event_log)
    clusters.for_configuration({"cluster_config": {"config": "other"}})
    manager = InformerManager(
        clusters,
        "",
        event_log,
        clock=clock,
        timings=Timings(watch_idle_timeout=SECONDS, informer_interval=0.0),
        namespaces=(),
        pod_events=False,
    )
    thread = threading.Thread(target=manager.run, args=(emit, stop))
    thread.start()
    try:
        assert looked.wait(SECONDS)
    finally:
        stop.cancel()
        thread.join()

    assert sorted(printed) == ["other", "own"]
