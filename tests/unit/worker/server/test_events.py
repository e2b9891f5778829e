from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployctl.core.json_values import Json
from deployctl.worker.model import Run
from deployctl.worker.runtimes.kubernetes.pod_events import pod_event
from deployctl.worker.server.events import WorkerIdentity, executed, started, stopped, submitted
from tests.unit.worker.runtimes.kubernetes.objects import (
    CREATED,
    LATER,
    STARTED,
    at,
    condition,
    ended,
    pod,
    running,
    unscheduled,
)

NOW = at("2026-11-21T10:05:00Z")
RUN = Run("r1", "fast-fox", "state", "PENDING", "Pending", NOW, "d1", "f1", attempt="a1")
WORKER = WorkerIdentity("My Worker", "kubernetes", "p1", "k8s")


def event(given: Json, **more: Any) -> Json:
    found = pod_event(given, NOW, **more)
    assert found is not None
    return found


EVICTED = pod("Failed", ended(137), status={"reason": "Evicted", "message": "low on memory"})
DRAINED = pod(
    "Failed", status={"conditions": [condition("DisruptionTarget", "PreemptionByScheduler")]}
)
NAMES = {
    "it waits": (pod("Pending"), "pending", CREATED, None, None),
    "no node": (
        unscheduled("1 Insufficient cpu"),
        "pending",
        CREATED,
        "Unschedulable.InsufficientResources",
        None,
    ),
    "it runs": (pod("Running", running()), "running", STARTED, None, None),
    "it is done": (pod("Succeeded", ended(0, "Completed")), "succeeded", LATER, None, None),
    "exit 1 is no eviction": (pod("Failed", ended(1)), "failed", LATER, "ExitCode", "Error"),
    "neither is a lack of memory": (
        pod("Failed", ended(137, "OOMKilled")),
        "failed",
        LATER,
        "OOMKilled",
        "OOMKilled",
    ),
    "an eviction": (EVICTED, "evicted", LATER, "Evicted", "Evicted"),
    "a preemption": (
        DRAINED,
        "evicted",
        "2026-11-21T10:05:00Z",
        "Preempted",
        "PreemptionByScheduler",
    ),
    "a lost node": (
        pod("Failed", status={"reason": "NodeLost"}),
        "failed",
        "2026-11-21T10:05:00Z",
        "NodeLost",
        "NodeLost",
    ),
}


@pytest.mark.parametrize(
    ("given", "name", "occurred", "diagnosis", "reason"), NAMES.values(), ids=NAMES
)
def test_event_of_each_pod_phase(
    given: Json, name: str, occurred: str, diagnosis: str | None, reason: str | None
) -> None:
    found = event(given)
    assert found["event"] == f"prefect.kubernetes.pod.{name}"
    assert at(found["occurred"]) == at(occurred)
    assert found["resource"].get("kubernetes.diagnosis") == diagnosis
    assert found["resource"].get("kubernetes.reason") == reason
    assert found["resource"]["prefect.resource.id"] == "prefect.kubernetes.pod.pod-uid"


def test_an_unknown_phase_is_no_event() -> None:
    assert pod_event(pod("Unknown"), NOW) is None


def test_one_phase_of_a_pod_has_one_event_id() -> None:
    later = pod_event(pod("Running", running()), NOW + 60)
    assert later == event(pod("Running", running()))
    ids = {event(given)["id"] for given, *_ in NAMES.values()}
    assert len(ids) == len(NAMES)


def test_the_event_id_equals_that_of_prefects_observer() -> None:
    # uuid5 of the URL namespace and
    # {"diagnosis": null, "phase": "Running", "restart_count": 2, "uid": "pod-uid"}
    found = event(pod("Running", running(restartCount=1), running(name="proxy", restartCount=1)))
    assert found["id"] == "449e9b8b-509f-5536-bb29-a466928d9612"


def test_follows_is_set_only_within_the_time_that_the_server_waits() -> None:
    before = event(pod("Pending"))
    assert event(pod("Running", running()), follows=before)["follows"] == before["id"]
    late = pod("Running", running("2026-11-21T11:00:00Z"))
    assert "follows" not in event(late, follows=before)


def test_related_resources_of_a_pod() -> None:
    labels = {
        "prefect.io/flow-run-id": "r1",
        "prefect.io/flow-run-name": "fast-fox",
        "prefect.io/work-pool-id": "p1",
        "prefect.io/worker-name": "My-Worker",
    }
    assert event(pod("Running", meta={"labels": labels}))["related"] == [
        {
            "prefect.resource.id": "prefect.flow-run.r1",
            "prefect.resource.role": "flow-run",
            "prefect.resource.name": "fast-fox",
        },
        {"prefect.resource.id": "prefect.work-pool.p1", "prefect.resource.role": "work-pool"},
        {
            "prefect.resource.id": "prefect.worker.kubernetes.my-worker",
            "prefect.resource.role": "worker",
            "prefect.resource.name": "My-Worker",
        },
    ]


def test_events_of_a_worker() -> None:
    begin = started(WORKER, NOW)
    end = stopped(WORKER, NOW + 10, begin)
    assert (begin["event"], end["event"]) == ("prefect.worker.started", "prefect.worker.stopped")
    assert begin["resource"]["prefect.resource.id"] == "prefect.worker.kubernetes.my-worker"
    assert end["follows"] == begin["id"]
    assert "follows" not in stopped(WORKER, NOW + 3600, begin)


def test_events_of_an_attempt() -> None:
    first = submitted(WORKER, RUN, NOW)
    assert first["id"] == submitted(WORKER, RUN, NOW + 1)["id"]
    assert first["id"] != submitted(WORKER, replace(RUN, attempt="a2"), NOW)["id"]
    end = executed(WORKER, RUN, NOW + 5, pid="flows:hello", code=137)
    assert end["event"] == "prefect.worker.executed-flow-run"
    assert end["related"] == [
        {
            "prefect.resource.id": "prefect.flow-run.r1",
            "prefect.resource.role": "flow-run",
            "prefect.resource.name": "fast-fox",
            "prefect.infrastructure.identifier": "flows:hello",
            "prefect.infrastructure.status-code": "137",
        },
        {"prefect.resource.id": "prefect.deployment.d1", "prefect.resource.role": "deployment"},
        {"prefect.resource.id": "prefect.flow.f1", "prefect.resource.role": "flow"},
        {
            "prefect.resource.id": "prefect.work-pool.p1",
            "prefect.resource.role": "work-pool",
            "prefect.resource.name": "k8s",
        },
    ]
