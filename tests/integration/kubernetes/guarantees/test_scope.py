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


def events(bench: WorkerHarness, resource: str) -> Counter[str]:
    """The names of all events about a resource, without what they have in common."""
    ask = {"filter": {"resource": {"id_prefix": [resource]}}}
    found = bench.api.call("POST", "/events/filter", ask)["events"]
    return Counter(each["event"].rpartition(".")[2] for each in found)


@only_with_events
class TestRightEventNames:
    """Guarantee 20. Prefect 2.20 keeps no events."""

    def test_events_of_pods(self, bench: WorkerHarness) -> None:
        with bench.worker():
            pods = [bench.begin(bench.run()) for _ in range(4)]
            resources = [
                f"prefect.kubernetes.pod.{bench.kubelet.get(pod)['metadata']['uid']}"
                for pod in pods
            ]
            begun = Counter(["pending", "running"])
            for resource in resources:
                until(lambda: events(bench, resource) >= begun, bench.worker_output)  # noqa: B023
            succeeded, failed, killed, evicted = pods
            bench.kubelet.succeeded(succeeded)
            bench.kubelet.failed(failed, 1)
            bench.kubelet.failed(killed, 137, "OOMKilled")
            bench.kubelet.evicted(evicted)
            for resource, end in zip(
                resources, ("succeeded", "failed", "failed", "evicted"), strict=True
            ):
                told = begun + Counter([end])
                until(lambda: events(bench, resource) >= told, bench.worker_output)  # noqa: B023
        for resource, end in zip(
            resources, ("succeeded", "failed", "failed", "evicted"), strict=True
        ):
            assert events(bench, resource) == begun + Counter([end])

    def test_events_of_the_worker(self, bench: WorkerHarness) -> None:
        name = f"w-{uuid.uuid4().hex[:6]}"
        about = f"prefect.worker.kubernetes.{name}"
        with bench.worker("--name", name):
            bench.finish(bench.run())
            worked = Counter(["started", "submitted-flow-run", "executed-flow-run"])
            until(lambda: events(bench, about) >= worked, bench.worker_output)
        until(lambda: events(bench, about) == worked + Counter(["stopped"]), bench.worker_output)


def foreign_job(bench: WorkerHarness, run: str, labels: dict[str, str]) -> str:
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
    bench.kube.request("POST", bench.jobs_path, job)
    return name


class TestRightScope:
    """Guarantee 21."""

    @pytest.mark.parametrize("kind", ["prefects", "of another pool"])
    def test_pod_of_another_program_causes_no_request(
        self, bench: WorkerHarness, kind: str
    ) -> None:
        attempt = str(uuid.uuid4())
        theirs = bench.api.call("POST", "/flow_runs/", {"flow_id": bench.flow_id})["id"]
        labels = {
            "deployctl.io/pool-id": str(uuid.uuid4()),
            "deployctl.io/attempt": attempt,
            "deployctl.io/run-id": theirs,
        }
        bench.report(theirs, "PENDING")
        bench.report(theirs, "RUNNING")
        with bench.worker():
            foreign = foreign_job(bench, theirs, {} if kind == "prefects" else labels)
            pod = bench.kubelet.pod_of(foreign)
            bench.kubelet.running(pod)
            bench.kubelet.failed(pod, 1)
            bench.kubelet.wait_for_job(foreign, "Failed")
            ours = bench.run()
            bench.kubelet.failed(bench.begin(ours), 1)
            bench.await_state(ours, "CRASHED")
        assert bench.read(theirs)["state_type"] == "RUNNING"
        told = [f"{each.path} {each.body}" for each in bench.proxy.exchanges]
        asked = [each.path for each in bench.kube_proxy.exchanges]
        assert any(ours in line for line in told)
        assert not [line for line in told if theirs in line or foreign in line]
        assert not [path for path in asked if foreign in path]
