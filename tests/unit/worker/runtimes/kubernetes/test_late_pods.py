"""A Job whose failure arrives before its pods: the pods are read once."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from deployctl.clients.kubernetes import KubeClient, KubeUnreachable, Listing
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.worker.model import Job, JobChanged, Phase, RuntimeUpdate
from deployctl.worker.runtimes.kubernetes.clusters import Clusters
from deployctl.worker.runtimes.kubernetes.informer_manager import InformerManager
from deployctl.worker.timings import Timings
from tests.support.kubernetes_jobs import RecordingEventLog
from tests.unit.worker.runtimes.kubernetes.objects import LAST, condition, ended, job, pod, running
from tests.unit.worker.runtimes.kubernetes.test_informer_manager import (
    SECONDS,
    FakeCluster,
    SilentWatch,
)

RUNNING = job(), pod("Running", running())
FAILED = (
    job([condition("Failed", "BackoffLimitExceeded", time=LAST)], status={"failed": 1}),
    pod("Failed", ended(137, "OOMKilled")),
)


class LateCluster(FakeCluster):
    """A cluster whose Jobs change, by an event or by a list, while its watch of pods is silent."""

    def __init__(self, *, by_event: bool, answers: bool = True) -> None:
        super().__init__("own")
        self._by_event = by_event
        self._answers = answers
        self.lists: list[str] = []
        self.runs = threading.Event()
        """Set when the running job was emitted."""

    def list_objects(self, path: str, _selector: str, keep: Callable[[Json], Any]) -> Listing:
        kind = path.rpartition("/")[2]
        is_jobs, first = kind == "jobs", kind not in self.lists
        self.lists.append(kind)
        if not first and not is_jobs and not self._answers:
            raise KubeUnreachable("down", sent=False)
        found = (RUNNING if first else FAILED)[0 if is_jobs else 1]
        return Listing([keep(found)], "1")

    def watch(self, *which: object) -> SilentWatch:
        is_jobs = str(which[0]).endswith("jobs")
        return JobFails(self.runs, by_event=self._by_event) if is_jobs else SilentWatch()


class JobFails(SilentWatch):
    """A watch with an event of the failed Job, or an error after which it is listed again."""

    def __init__(self, after: threading.Event, *, by_event: bool) -> None:
        super().__init__()
        self._after = after
        failed = {"type": "MODIFIED", "object": FAILED[0]}
        failed["object"]["metadata"]["resourceVersion"] = "2"
        expired = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
        self._event = failed if by_event else expired

    def __iter__(self) -> Iterator[bytes]:
        assert self._after.wait(SECONDS)
        yield json.dumps(self._event).encode()
        yield from super().__iter__()


def first_failure(kube: LateCluster) -> Job:
    """The job when it is emitted as failed for the first time."""
    failures: queue.Queue[Job] = queue.Queue()

    def emit(news: RuntimeUpdate) -> None:
        jobs = (news.job,) if isinstance(news, JobChanged) else getattr(news, "jobs", ())
        for each in jobs:
            if each.phase is Phase.RUNNING:
                kube.runs.set()
            if each.phase is Phase.FAILED:
                failures.put(each)

    clusters = Clusters(lambda _: cast(KubeClient, kube), RecordingEventLog())
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
    thread = threading.Thread(target=manager.run, args=(emit, stop))
    thread.start()
    try:
        return failures.get(timeout=SECONDS)
    finally:
        stop.cancel()
        thread.join()


@pytest.mark.parametrize("by_event", [True, False])
def test_pods_are_read_when_their_watch_is_late(by_event: bool) -> None:
    kube = LateCluster(by_event=by_event)
    failure = first_failure(kube)

    assert failure.cause is not None
    assert failure.cause.code == "OOMKilled"
    assert kube.lists.count("pods") == 2


def test_failure_is_emitted_if_pods_cannot_be_read() -> None:
    failure = first_failure(LateCluster(by_event=True, answers=False))

    assert failure.cause is not None
    assert failure.cause.code == "BackoffLimitExceeded"
