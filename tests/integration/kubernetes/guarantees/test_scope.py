"""Guarantees 20 and 21: names of pod events, and no events about pods of other programs."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import pytest

from tests.support.cluster.pods import SCHEDULER
from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness

only_with_events = pytest.mark.parametrize("server", ["prefect3"], indirect=True)


def events(harness: WorkerHarness, resource: str) -> Counter[str]:
    """The names of all events about a resource, without what they have in common."""
    ask = {"filter": {"resource": {"id_prefix": [resource]}}}
    found = harness.api.call("POST", "/events/filter", ask)["events"]
    return Counter(each["event"].rpartition(".")[2] for each in found)


@only_with_events
class TestRightEventNames:
    """Guarantee 20. Prefect 2.20 keeps no events."""

    def test_events_of_pods(self, harness: WorkerHarness) -> None:
        with harness.worker():
            pods = [harness.begin(harness.run()) for _ in range(4)]
            resources = [
                f"prefect.kubernetes.pod.{harness.kubelet.get(pod)['metadata']['uid']}"
                for pod in pods
            ]
            begun = Counter(["pending", "running"])
            for resource in resources:
                until(lambda: events(harness, resource) >= begun, harness.worker_output)  # noqa: B023
            succeeded, failed, killed, evicted = pods
            harness.kubelet.succeeded(succeeded)
            harness.kubelet.failed(failed, 1)
            harness.kubelet.failed(killed, 137, "OOMKilled")
            harness.kubelet.evicted(evicted)
            for resource, end in zip(
                resources, ("succeeded", "failed", "failed", "evicted"), strict=True
            ):
                expected = begun + Counter([end])
                until(lambda: events(harness, resource) >= expected, harness.worker_output)  # noqa: B023
        for resource, end in zip(
            resources, ("succeeded", "failed", "failed", "evicted"), strict=True
        ):
            assert events(harness, resource) == begun + Counter([end])

    def test_events_of_the_worker(self, harness: WorkerHarness) -> None:
        name = f"w-{uuid.uuid4().hex[:6]}"
        about = f"prefect.worker.kubernetes.{name}"
        with harness.worker("--name", name):
            harness.finish(harness.run())
            worked = Counter(["started", "submitted-flow-run", "executed-flow-run"])
            until(lambda: events(harness, about) >= worked, harness.worker_output)
        until(
            lambda: events(harness, about) == worked + Counter(["stopped"]), harness.worker_output
        )


def foreign_job(harness: WorkerHarness, run: str, labels: dict[str, str]) -> str:
    """Creates a Job that is none of the worker's and says that it is the run's; gives its name."""
    name = f"foreign-{uuid.uuid4().hex[:6]}"
    labels = {"prefect.io/flow-run-id": run, **labels}
    container = {"name": "prefect-job", "image": "flow:1"}
    job: dict[str, Any] = {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "schedulerName": SCHEDULER,
                    "containers": [container],
                },
            },
        },
    }
    harness.kube.request("POST", harness.jobs_path, job)
    return name


class TestRightScope:
    """Guarantee 21."""

    @pytest.mark.parametrize("kind", ["prefects", "of another pool"])
    def test_pod_of_another_program_causes_no_request(
        self, harness: WorkerHarness, kind: str
    ) -> None:
        attempt = str(uuid.uuid4())
        theirs = harness.api.call("POST", "/flow_runs/", {"flow_id": harness.flow_id})["id"]
        labels = {
            "deployctl.io/pool-id": str(uuid.uuid4()),
            "deployctl.io/attempt": attempt,
            "deployctl.io/run-id": theirs,
        }
        harness.report(theirs, "PENDING")
        harness.report(theirs, "RUNNING")
        with harness.worker():
            foreign = foreign_job(harness, theirs, {} if kind == "prefects" else labels)
            pod = harness.kubelet.pod_of(foreign)
            harness.kubelet.running(pod)
            harness.kubelet.failed(pod, 1)
            harness.kubelet.wait_for_job(foreign, "Failed")
            ours = harness.run()
            harness.kubelet.failed(harness.begin(ours), 1)
            harness.await_state(ours, "CRASHED")
        assert harness.read(theirs)["state_type"] == "RUNNING"
        sent = [f"{each.path} {each.body}" for each in harness.proxy.exchanges]
        asked = [each.path for each in harness.kube_proxy.exchanges]
        assert any(ours in line for line in sent)
        assert not [line for line in sent if theirs in line or foreign in line]
        assert not [path for path in asked if foreign in path]
