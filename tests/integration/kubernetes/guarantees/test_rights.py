"""What the official chart's Role grants suffices to run, and so does Prefect's ClusterRole for
workers that look into all namespaces. What is missing without more is logged once."""

from __future__ import annotations

import re

import pytest

from tests.support.cluster.cluster import Cluster, Rules
from tests.support.worker_harness import WorkerHarness, WorkerProcess

READ = ["get", "list", "watch"]
CHARTS_ROLE: Rules = [
    {
        "apiGroups": [""],
        "resources": ["events", "pods", "pods/log", "pods/status"],
        "verbs": READ,
    },
    {
        "apiGroups": ["batch"],
        "resources": ["jobs"],
        "verbs": [*READ, "create", "update", "patch", "delete"],
    },
]
"""`role.yaml` of the chart prefect-worker, with its default values."""

BASE_ROLE: Rules = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": READ},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": [*READ, "create", "delete"]},
]
CLUSTER_ROLE: Rules = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": READ},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": READ},
]
"""What Prefect's guide asks for: the Role where jobs are made, the ClusterRole to observe them."""

LOST = ["cluster.uid_unavailable", "lease.forbidden", "secrets.create_forbidden"]


def warnings(worker: WorkerProcess) -> list[str]:
    """The events of all warnings about rights, in alphabetical order: not those about jobs, nor of
    what failed once, as it may where a server is busy."""
    events = [line["event"] for line in worker.log_entries if line["level"] == "warning"]
    return sorted(each for each in events if not re.search(r"^job\.|failed$", each))


@pytest.mark.parametrize(
    ("role", "cluster_role", "lost"),
    [(CHARTS_ROLE, (), [*LOST, "watch.narrowed"]), (BASE_ROLE, CLUSTER_ROLE, LOST)],
    ids=["the chart's Role", "the guide's ClusterRole"],
)
def test_runs_are_run_and_observed(
    harness: WorkerHarness,
    control_plane: Cluster,
    role: Rules,
    cluster_role: Rules,
    lost: list[str],
) -> None:
    kubeconfig = control_plane.kubeconfig_for(role, harness.namespace, cluster_role)
    with harness.worker(KUBECONFIG=str(kubeconfig), PREFECT_API_KEY="pnu_0123456789") as worker:
        harness.finish(harness.run())
        failing, cancelled = harness.run(), harness.run()
        harness.kubelet.failed(harness.begin(failing), 137, "OOMKilled")
        assert "memory" in harness.await_state(failing, "CRASHED")["message"]
        harness.await_pod(cancelled)
        harness.report(cancelled, "CANCELLING")
        harness.await_state(cancelled, "CANCELLED")
        assert worker.page("/ready")[0] == 200
    assert warnings(worker) == lost
