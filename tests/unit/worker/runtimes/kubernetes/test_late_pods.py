"""A Job that is heard to have failed before its pods are: they are asked why, once."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from deployctl.clients.kubernetes import Kube, KubeUnreachable, Listing
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.worker.model import Job, JobChanged, Phase, RuntimeUpdate
from deployctl.worker.runtimes.kubernetes.clusters import Clusters
from deployctl.worker.runtimes.kubernetes.informer_manager import InformerManager
from deployctl.worker.timings import Timings
from tests.support.kubernetes_jobs import Notes
from tests.unit.worker.runtimes.kubernetes.objects import LAST, condition, ended, job, pod, running
from tests.unit.worker.runtimes.kubernetes.test_informer_manager import SECONDS, Silence, Still

RUNNING = job(), pod("Running", running())
FAILED = (
    job([condition("Failed", "BackoffLimitExceeded", time=LAST)], status={"failed": 1}),
    pod("Failed", ended(137, "OOMKilled")),
)


class Deaf(Still):
    """A cluster whose Jobs are heard of, by an event or by a list, and whose pods are not."""

    def __init__(self, *, by_event: bool, answers: bool = True) -> None:
        super().__init__("own")
        self._by_event = by_event
        self._answers = answers
        self.lists: list[str] = []
        self.runs = threading.Event()
        """It was told that the job runs."""

    def list_objects(self, path: str, _selector: str, keep: Callable[[Json], Any]) -> Listing:
        kind = path.rpartition("/")[2]
        is_jobs, first = kind == "jobs", kind not in self.lists
        self.lists.append(kind)
        if not first and not is_jobs and not self._answers:
            raise KubeUnreachable("down", sent=False)
        found = (RUNNING if first else FAILED)[0 if is_jobs else 1]
        return Listing([keep(found)], "1")

    def watch(self, *which: object) -> Silence:
        is_jobs = str(which[0]).endswith("jobs")
        return JobFails(self.runs, by_event=self._by_event) if is_jobs else Silence()


class JobFails(Silence):
    """A watch that tells of the failed Job, or that it has to be listed again."""

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


def first_failure(kube: Deaf) -> Job:
    """What is told of the job when it is told as failed for the first time."""
    told: queue.Queue[Job] = queue.Queue()

    def emit(news: RuntimeUpdate) -> None:
        jobs = (news.job,) if isinstance(news, JobChanged) else getattr(news, "jobs", ())
        for each in jobs:
            if each.phase is Phase.RUNNING:
                kube.runs.set()
            if each.phase is Phase.FAILED:
                told.put(each)

    clusters = Clusters(lambda _: cast(Kube, kube), Notes())
    observer = InformerManager(
        clusters,
        "",
        Notes(),
        clock=lambda: 0.0,
        timings=Timings(watch_idle_timeout=SECONDS),
        namespaces=(),
        pod_events=False,
    )
    stop = CancellationToken()
    thread = threading.Thread(target=observer.run, args=(emit, stop))
    thread.start()
    try:
        return told.get(timeout=SECONDS)
    finally:
        stop.cancel()
        thread.join()


@pytest.mark.parametrize("by_event", [True, False])
def test_pods_that_are_not_heard_of_are_asked_why(by_event: bool) -> None:
    kube = Deaf(by_event=by_event)
    failure = first_failure(kube)

    assert failure.cause is not None
    assert failure.cause.code == "OOMKilled"
    assert kube.lists.count("pods") == 2


def test_a_failure_is_told_also_if_pods_cannot_be_asked() -> None:
    failure = first_failure(Deaf(by_event=True, answers=False))

    assert failure.cause is not None
    assert failure.cause.code == "BackoffLimitExceeded"
