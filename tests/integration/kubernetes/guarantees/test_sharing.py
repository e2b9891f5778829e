"""Workers of two clusters and a real Prefect worker on one pool never touch each other's runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.kubernetes.conftest import MakeKubeProxy
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.pods import Kubelet
from tests.support.prefect_cli import PrefectCli
from tests.support.servers import Server
from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness

JOBS = "/jobs$"
NOW = {"propagationPolicy": "Background"}


@pytest.fixture
def elsewhere(
    harness: WorkerHarness, second_control_plane: Cluster, kube_proxy: MakeKubeProxy
) -> Iterator[WorkerHarness]:
    """The same pool, seen from another cluster, where the namespace has the same name."""
    there = copy.copy(harness)
    there.kube = second_control_plane.admin
    there.kube_proxy = kube_proxy(there.kube)
    there.kubelet = Kubelet(there.kube, harness.namespace)
    namespace = {"metadata": {"name": harness.namespace}}
    there.kube.request("POST", "/api/v1/namespaces", namespace)
    yield there
    there.kube.request("DELETE", f"/api/v1/namespaces/{harness.namespace}")


def test_each_worker_handles_its_own_runs(
    harness: WorkerHarness,
    elsewhere: WorkerHarness,
    server: Server,
    prefect_cli: Callable[[Server], PrefectCli],
    tmp_path: Path,
) -> None:
    """Each has one run, and no place for more. Two lose their jobs and report that; had they missed
    the jobs of the others, they would have reported those before."""
    with ExitStack() as workers:
        workers.enter_context(harness.worker("--limit", "1", "--name", "here"))
        harness.begin(first := harness.run())
        workers.enter_context(elsewhere.worker("--limit", "1", "--name", "there"))
        elsewhere.begin(second := harness.run())
        silent = {"stream_output": False}  # no kubelet, no output
        third = harness.run(harness.deployment("silent", job_variables=silent))
        log = workers.enter_context(
            prefect_cli(server).running(
                *("worker", "start", "--pool", harness.pool, "--type", "kubernetes"),
                cwd=tmp_path,
                KUBECONFIG=str(harness.kube_proxy.kubeconfig),
            )
        )
        pod = harness.kubelet.pod_of(until(lambda: prefects_job(harness, third), log.read_text))
        harness.kubelet.running(pod)
        harness.report(third, "RUNNING")
        for side, run in ((harness, first), (elsewhere, second)):
            side.kube.request("DELETE", f"{side.jobs_path}/{side.await_job(run)}", NOW)
            harness.await_state(run, "CRASHED")
        harness.report(third, "COMPLETED")
        harness.kubelet.succeeded(pod)
    for run in (first, second):
        assert harness.types(run) == ["SCHEDULED", "PENDING", "RUNNING", "CRASHED"]
    assert set(harness.types(third)) == {"SCHEDULED", "PENDING", "RUNNING", "COMPLETED"}
    assert len(harness.jobs()) == 1


def prefects_job(harness: WorkerHarness, run: str) -> str:
    """The name of the Job that Prefect's worker made of the run; "" while there is none."""
    found = [
        job["metadata"]
        for job in harness.jobs()
        if job["metadata"]["labels"]["prefect.io/flow-run-id"] == run
    ]
    return str(found[0]["name"]) if found else ""


def test_claim_is_continued_only_in_its_own_cluster(
    harness: WorkerHarness, elsewhere: WorkerHarness
) -> None:
    runs = []
    for side in (elsewhere, harness):
        side.kube_proxy.hang(method="POST", path=JOBS, times=None)
        with side.worker() as worker:
            runs.append(harness.run())
            until(lambda: side.kube_proxy.seen("POST", JOBS), harness.worker_output)  # noqa: B023
            worker.kill()
        side.kube_proxy.clear()
    theirs, ours = runs
    with harness.worker():
        harness.finish(ours)
        assert harness.types(theirs) == ["SCHEDULED", "PENDING"]
    with elsewhere.worker():
        elsewhere.finish(theirs)
    for run in runs:
        assert harness.types(run) == ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]
    assert len(harness.jobs() + elsewhere.jobs()) == 2
