"""The cluster of the test rig, on which other tests rely."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import tools
from tests.support.cluster.api import Refused
from tests.support.cluster.busy import BusyKubelet
from tests.support.cluster.cluster import Cluster, GivenCluster
from tests.support.cluster.pods import SCHEDULER, Kubelet
from tests.support.servers import ROOT
from tests.support.waiting import until

JOBS = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list", "create"]}]


def job(name: str, **spec: Any) -> Any:
    container = {"name": "prefect-job", "image": "example/flow:1"}
    pod = {"restartPolicy": "Never", "schedulerName": SCHEDULER, "containers": [container]}
    template = {"spec": pod}
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template} | spec}


def start(plane: Cluster, namespace: str, name: str, **spec: Any) -> None:
    plane.request("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", job(name, **spec))


def test_two_control_planes_are_two_clusters(
    control_plane: Cluster, second_control_plane: Cluster
) -> None:
    assert control_plane.uid != second_control_plane.uid


def test_account_has_only_its_rights(control_plane: Cluster, namespace: str) -> None:
    api = control_plane.account(JOBS, namespace)
    api.request("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", job("allowed"))
    for path in (
        f"/api/v1/namespaces/{namespace}/pods",
        "/apis/batch/v1/namespaces/default/jobs",
        "/apis/batch/v1/jobs",
    ):
        with pytest.raises(Refused) as refused:
            api.request("GET", path)
        assert refused.value.status == 403

    everywhere = control_plane.account([], namespace, everywhere=JOBS)
    assert everywhere.items("/apis/batch/v1/jobs")


@pytest.mark.parametrize(
    ("end", "condition", "reason"),
    [
        (lambda kubelet, pod: kubelet.succeeded(pod), "Complete", "CompletionsReached"),
        (lambda kubelet, pod: kubelet.failed(pod, 3), "Failed", "BackoffLimitExceeded"),
        (lambda kubelet, pod: kubelet.evicted(pod), "Failed", "BackoffLimitExceeded"),
        (lambda kubelet, pod: kubelet.preempted(pod), "Failed", "BackoffLimitExceeded"),
        (lambda kubelet, pod: kubelet.node_lost(pod), "Failed", "BackoffLimitExceeded"),
    ],
    ids=["succeeded", "failed", "evicted", "preempted", "node-lost"],
)
def test_job_controller_ends_the_job_with_its_pod(
    control_plane: Cluster,
    namespace: str,
    kubelet: Kubelet,
    end: Callable[[Kubelet, str], None],
    condition: str,
    reason: str,
) -> None:
    start(control_plane, namespace, "job")
    pod = kubelet.pod_of("job")
    kubelet.unschedulable(pod)
    kubelet.waiting(pod, "ImagePullBackOff", "Back-off pulling image")
    kubelet.running(pod)
    assert kubelet.get(pod)["status"]["phase"] == "Running"
    end(kubelet, pod)
    found = kubelet.wait_for_job("job", condition)["status"]["conditions"]
    assert reason in {each.get("reason") for each in found}


def test_job_with_tries_left_gets_another_pod(
    control_plane: Cluster, namespace: str, kubelet: Kubelet
) -> None:
    start(control_plane, namespace, "job", backoffLimit=1)
    first = kubelet.pod_of("job")
    kubelet.remove(first)
    assert kubelet.pod_of("job", other_than=first)


def test_deleted_pod_terminates_until_its_kubelet_ends_it(
    control_plane: Cluster, namespace: str, kubelet: Kubelet
) -> None:
    start(control_plane, namespace, "job")
    pod = kubelet.pod_of("job")
    kubelet.running(pod)
    kubelet.evict(pod)
    assert "deletionTimestamp" in kubelet.get(pod)["metadata"]
    assert kubelet.remove_terminating() == [pod]
    until(lambda: kubelet.get(pod) is None)


def test_busy_kubelet_runs_every_pod_to_its_end(
    control_plane: Cluster, namespace: str, kubelet: Kubelet
) -> None:
    names = [f"job-{number}" for number in range(6)]

    def ends(pod: Any) -> int | None:
        number = int(pod["metadata"]["labels"]["batch.kubernetes.io/job-name"][4:])
        return None if number == 0 else number % 2

    with BusyKubelet(control_plane.admin, namespace, ends) as busy:
        for name in names:
            start(control_plane, namespace, name)
        for number, name in enumerate(names[1:], 1):
            kubelet.wait_for_job(name, "Failed" if number % 2 else "Complete")
        assert sorted(busy.ended.values()) == [0, 0, 1, 1, 1]
        kept = kubelet.pod_of(names[0])
        until(lambda: kubelet.get(kept)["status"]["phase"] == "Running")
        kubelet.evict(kept)
        until(lambda: kubelet.get(kept) is None)


ALL = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]


@pytest.mark.parametrize("by", ["certificate", "token"])
def test_given_cluster_is_left_clean(second_control_plane: Cluster, by: str) -> None:
    with second_control_plane.namespace() as outer:
        kubeconfig = second_control_plane.kubeconfig
        if by == "token":
            kubeconfig = second_control_plane.kubeconfig_for(ALL, outer, everywhere=ALL)
        with GivenCluster(str(kubeconfig)) as given, given.namespace() as name:
            assert given.uid == second_control_plane.uid
            start(given, name, "job")
            kubelet = Kubelet(given.account(ALL, name, everywhere=JOBS), name)
            kubelet.running(kubelet.pod_of("job"))
            assert outside(second_control_plane, name) > {name}
            assert given.admin.find(f"/api/v1/nodes/{name}")
        until(lambda: not outside(second_control_plane, name))


def outside(plane: Cluster, namespace: str) -> set[str]:
    """The names of a namespace and of cluster-scoped objects that belong to it."""
    roles = "/apis/rbac.authorization.k8s.io/v1"
    kinds = ("/api/v1/nodes", f"{roles}/clusterroles", f"{roles}/clusterrolebindings")
    found = [each["metadata"] for kind in kinds for each in plane.admin.items(kind)]
    owned = {
        meta["name"]
        for meta in found
        if namespace in [owner["name"] for owner in meta.get("ownerReferences", [])]
    }
    itself = plane.admin.find(f"/api/v1/namespaces/{namespace}")
    return owned | ({namespace} if itself else set())


def test_programs_come_from_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The assets of envtest have no controllers."""
    given, built = tmp_path / "given", tmp_path / "built"
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(given))
    monkeypatch.setattr(tools, "BUILT", built)
    for location, names in ((given, ("etcd", "kube-apiserver", "kubectl")), (built, ())):
        location.mkdir()
        for name in names:
            (location / name).touch(mode=0o755)
    assert tools.lacks().startswith(f"{given} has no kube-controller-manager; `make cluster-tools`")
    for name in tools.CONTROL_PLANE:
        (built / name).touch(mode=0o755)
    assert (tools.folder(), tools.lacks()) == (built, "")


def test_control_plane_ends_with_its_parent_process(tmp_path: Path) -> None:
    if reason := tools.lacks():
        pytest.skip(reason)
    code = (
        "import time; from tests.support.cluster.control_plane import ControlPlane\n"
        "plane = ControlPlane(); plane.start()\n"
        "print(*[each.pid for each in plane._processes.values()], flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout
        processes = [int(pid) for pid in owner.stdout.readline().split()]
        assert len(processes) == 3
        owner.send_signal(signal.SIGKILL)
    until(lambda: not any(is_alive(pid) for pid in processes))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
