"""What is heard of several clusters at once, of clusters that tell always the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, cast

import pytest

from deployctl.clients.kubernetes import Kube, Listing
from deployctl.core.stop import Stop
from deployctl.core.values import Json
from deployctl.worker.model import Listed, News, Printed
from deployctl.worker.runtimes.kubernetes import observing
from deployctl.worker.runtimes.kubernetes.clusters import Clusters
from deployctl.worker.runtimes.kubernetes.observing import Observer
from tests.support.kubernetes_jobs import Notes
from tests.unit.worker.kubernetes_objects import job, pod

SECONDS = 30.0
LOOKS = 20


class Silence:
    """A watch that tells nothing until it is cut."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def __enter__(self) -> Silence:
        return self

    def __exit__(self, *exception: object) -> None:
        self.cut()

    def __iter__(self) -> Iterator[bytes]:
        self._over.wait(SECONDS)
        return iter(())

    def cut(self) -> None:
        self._over.set()


class Still:
    """A cluster with one job, whose pod has ended and printed its cluster's name."""

    namespace = "flows"
    clock = staticmethod(lambda: 0.0)

    def __init__(self, name: str) -> None:
        self.host = f"https://{name}"
        self._name = name

    def authority(self) -> bytes:
        return self.host.encode()

    def request(self, _method: str, _path: str, **_more: Any) -> Json:
        return {"metadata": {"uid": self._name}}

    def listing(self, path: str, _selector: str, keep: Callable[[Json], Any]) -> Listing:
        made = job() if path.endswith("jobs") else pod("Succeeded")
        made["metadata"]["uid"] = f"{self._name}-{made['metadata']['uid']}"
        return Listing([keep(made)], "1")

    def watch(self, *_which: object) -> Silence:
        return Silence()

    @contextmanager
    def follow(self, _path: str, _query: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        yield iter([self._name.encode()])


def test_what_cannot_be_read_makes_a_watch_late_and_not_deaf() -> None:
    stop, heard, tries = Stop(), threading.Event(), count()

    class Odd(Still):
        def listing(self, path: str, selector: str, keep: Callable[[Json], Any]) -> Listing:
            if path.endswith("jobs") and next(tries) == 0:
                return Listing([keep({"metadata": {"creationTimestamp": "soon"}})], "1")
            return super().listing(path, selector, keep)

    def tell(news: News) -> None:
        if isinstance(news, Listed) and news.jobs:
            heard.set()

    clusters = Clusters(lambda _: cast(Kube, Odd("own")), Notes())
    observer = Observer(
        clusters, "", Notes(), clock=lambda: 0.0, silence=SECONDS, only=(), pod_events=False
    )
    thread = threading.Thread(target=observer.run, args=(tell, stop))
    thread.start()
    try:
        assert heard.wait(SECONDS)
    finally:
        stop.request()
        thread.join()


def test_a_cluster_that_does_not_answer_holds_nobody_up() -> None:
    asked, answered = threading.Event(), threading.Event()

    class Slow(Still):
        def request(self, _method: str, _path: str, **_more: Any) -> Json:
            asked.set()
            assert answered.wait(SECONDS)
            return super().request("GET", "")

    def connect(config: Mapping[str, Json] | None) -> Kube:
        return cast(Kube, Slow("slow") if config else Still("own"))

    clusters = Clusters(connect, Notes())
    thread = threading.Thread(target=clusters.of, args=({"cluster_config": {"config": "slow"}},))
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


@pytest.mark.parametrize("ahead", [0.0, 600.0, -600.0])
def test_how_far_clocks_are_apart_is_the_same_from_moment_to_moment(ahead: float) -> None:
    ticks = count()

    def clock() -> float:
        return ahead + next(ticks) * 1e-6

    clusters = Clusters(lambda _: cast(Kube, Still("own")), Notes(), clock=clock)
    assert {clusters.own.ahead() for _ in range(10)} == {ahead}


def test_a_pod_is_repeated_once_however_many_clusters_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observing, "_LOOK_SECONDS", 0.0)
    notes, stop, looked, looks = Notes(), Stop(), threading.Event(), count()
    printed: list[str] = []

    def connect(config: Mapping[str, Json] | None) -> Kube:
        return cast(Kube, Still(config["config"] if config else "own"))

    def tell(news: News) -> None:
        if isinstance(news, Printed):
            printed.append(news.line)

    def clock() -> float:
        if len({*printed}) == 2 and next(looks) > LOOKS:
            looked.set()
        return 0.0

    clusters = Clusters(connect, notes)
    clusters.of({"cluster_config": {"config": "other"}})
    observer = Observer(
        clusters, "", notes, clock=clock, silence=SECONDS, only=(), pod_events=False
    )
    thread = threading.Thread(target=observer.run, args=(tell, stop))
    thread.start()
    try:
        assert looked.wait(SECONDS)
    finally:
        stop.request()
        thread.join()

    assert sorted(printed) == ["other", "own"]
