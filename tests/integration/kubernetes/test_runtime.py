"""Jobs in a real Kubernetes API, behind a fault-injecting proxy."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from deployctl.jobs.rbac import JOBS
from deployctl.worker.model import (
    Job,
    JobsListed,
    JobVanished,
    Phase,
    RuntimeUnavailable,
    StartFailed,
)
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.pods import Kubelet
from tests.support.cluster.proxy import KubeProxy
from tests.support.kubernetes_jobs import (
    JOBS_PATH,
    RecordingEventLog,
    job_spec,
    jobs,
    quota,
    rules,
    runtime,
    secrets,
)
from tests.support.runtime_updates import recording
from tests.support.waiting import until


@pytest.mark.parametrize("fault", ["drop", "refuse", "500", "503", "409"])
def test_one_job_per_attempt_if_the_answer_is_lost(
    control_plane: Cluster, namespace: str, proxy: KubeProxy, fault: str
) -> None:
    match fault:
        case "drop":
            proxy.drop_answer(method="POST", path=JOBS_PATH, times=2)
        case "refuse":
            proxy.refuse(method="POST", path=JOBS_PATH, times=2)
        case _:
            proxy.answer(int(fault), method="POST", path=JOBS_PATH, times=2)
    with runtime(proxy.kubeconfig, namespace) as own:
        job = own.start(job_spec(namespace))

    assert (job.attempt, job.location, job.phase) == ("attempt-1", namespace, Phase.WAITING)
    assert [each["metadata"]["name"] for each in jobs(control_plane, namespace)] == [job.name]


def test_job_is_adopted_although_it_exhausted_the_quota(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    quota(control_plane, namespace, {"count/jobs.batch": "1"})
    proxy.drop_answer(method="POST", path=JOBS_PATH)
    with runtime(proxy.kubeconfig, namespace) as own:
        job = own.start(job_spec(namespace))

    assert [each.status for each in proxy.seen("POST", JOBS_PATH)][-1] == 403
    assert [each["metadata"]["name"] for each in jobs(control_plane, namespace)] == [job.name]
    assert [each["metadata"]["name"] for each in secrets(control_plane, namespace)] == [job.name]


def test_job_deleted_during_creation_is_left_to_the_caller(
    namespace: str, proxy: KubeProxy
) -> None:
    with runtime(proxy.kubeconfig, namespace) as own:
        job = own.start(job_spec(namespace))
        proxy.answer(404, method="GET", path=f"{JOBS_PATH[:-1]}/{job.name}$")
        with pytest.raises(RuntimeUnavailable):
            own.start(job_spec(namespace))

    assert len(proxy.seen("POST", JOBS_PATH)) == 2


def test_one_job_per_attempt_when_two_workers_create_it_at_once(
    control_plane: Cluster, namespace: str, proxy: KubeProxy, kubelet: Kubelet
) -> None:
    proxy.delay(0.3, method="POST", path=JOBS_PATH, times=2)
    created: list[Job] = []
    with runtime(proxy.kubeconfig, namespace) as one, runtime(proxy.kubeconfig, namespace) as two:
        threads = [
            threading.Thread(target=lambda own=own: created.append(own.start(job_spec(namespace))))
            for own in (one, two)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert created[0] == created[1]
    assert len(jobs(control_plane, namespace)) == 1
    assert [each.status for each in proxy.seen("POST", JOBS_PATH)].count(409) == 1
    kubelet.pod_of(created[0].name)
    assert len(kubelet.pods()) == 1


def test_second_attempt_has_its_own_job(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    with runtime(proxy.kubeconfig, namespace) as own:
        own.start(job_spec(namespace, "attempt-1"))
        own.start(job_spec(namespace, "attempt-2"))

    assert len(jobs(control_plane, namespace)) == 2


def test_job_of_another_attempt_is_not_adopted(namespace: str, proxy: KubeProxy) -> None:
    with runtime(proxy.kubeconfig, namespace) as own:
        own.start(job_spec(namespace, "attempt-1", name="the-name"))
        with pytest.raises(StartFailed) as failed:
            own.start(job_spec(namespace, "attempt-2", name="the-name"))

    assert failed.value.cause.code == "NameTaken"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"configuration": {"namespace": "nowhere"}}, "NoNamespace"),
        (
            {"manifest": {"spec": {"template": {"spec": {"containers": [{"ports": 3}]}}}}},
            "BadManifest",
        ),
        ({"manifest": {"kind": "Pod"}}, "InvalidJobSpec"),
        ({"configuration": {"cluster_config": {"config": {}}}}, "NoCluster"),
    ],
)
def test_permanent_refusal_fails_after_one_request(
    namespace: str, proxy: KubeProxy, changes: dict[str, Any], code: str
) -> None:
    with runtime(proxy.kubeconfig, namespace) as own, pytest.raises(StartFailed) as failed:
        own.start(job_spec(namespace, **changes, secret_env=frozenset()))

    assert len(proxy.seen("POST", JOBS_PATH)) <= 1
    assert failed.value.cause.code == code


@pytest.mark.parametrize("status", [429, 500, 503])
def test_temporary_refusal_is_left_to_the_caller_after_a_few_tries(
    control_plane: Cluster, namespace: str, proxy: KubeProxy, status: int
) -> None:
    with runtime(proxy.kubeconfig, namespace, sleep=lambda _: None) as own:
        proxy.answer(status, method="POST", path=JOBS_PATH, times=None)
        with pytest.raises(RuntimeUnavailable):
            own.start(job_spec(namespace))
        assert len(proxy.seen("POST", JOBS_PATH)) == 3
        proxy.clear()
        own.start(job_spec(namespace))

    assert len(jobs(control_plane, namespace)) == 1


def test_job_starts_after_an_outage_of_the_cluster(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    with runtime(proxy.kubeconfig, namespace, sleep=lambda _: None) as own:
        proxy.stop_after(len(proxy.exchanges))
        with pytest.raises(RuntimeUnavailable):
            own.start(job_spec(namespace))
        proxy.clear()
        own.start(job_spec(namespace))

    assert len(jobs(control_plane, namespace)) == 1


def test_delete_removes_job_pods_and_secret(
    control_plane: Cluster, namespace: str, proxy: KubeProxy, kubelet: Kubelet
) -> None:
    with runtime(proxy.kubeconfig, namespace) as own, recording(own) as recorder:
        job = own.start(job_spec(namespace))
        kubelet.running(kubelet.pod_of(job.name))
        assert recorder.wait_for_phase(Phase.RUNNING).started
        own.delete(job)
        recorder.wait_for(lambda update: getattr(getattr(update, "job", None), "deleting", False))
        kubelet.remove_job(job.name)
        recorder.wait_for(lambda update: update == JobVanished(job.attempt))
        own.delete(job)

    assert jobs(control_plane, namespace) == []
    until(lambda: not secrets(control_plane, namespace), lambda: "the Secret stays")


class TestOwner:
    """Who answers for jobs: the cluster, the namespace and the pool."""

    def test_owner_has_the_uid_of_kube_system(
        self, control_plane: Cluster, namespace: str, proxy: KubeProxy
    ) -> None:
        with runtime(proxy.kubeconfig, namespace) as own:
            assert own.owner == f"{control_plane.uid}/{namespace}/{namespace}"

    def test_owner_has_the_ca_hash_if_kube_system_is_forbidden(
        self, control_plane: Cluster, namespace: str
    ) -> None:
        config = control_plane.kubeconfig_for(rules(*JOBS), namespace)
        other = control_plane.kubeconfig_for(rules(*JOBS), namespace)
        event_log = RecordingEventLog()
        with (
            runtime(config, namespace, event_log=event_log) as one,
            runtime(other, namespace) as two,
        ):
            assert one.owner == two.owner
        assert event_log.warnings == ["cluster.uid_unavailable"]

    def test_owner_has_the_configured_uid(self, namespace: str, proxy: KubeProxy) -> None:
        with runtime(proxy.kubeconfig, namespace, settings={"cluster_uid": "mine"}, major=2) as own:
            assert own.owner == f"mine/{namespace}/{namespace}"
            assert own.start(job_spec(namespace)).pid == f"mine:{namespace}:job-attempt-1"

    def test_unreachable_cluster_cannot_be_identified(
        self, namespace: str, proxy: KubeProxy
    ) -> None:
        proxy.answer(503, path="kube-system")
        with pytest.raises(RuntimeUnavailable), runtime(proxy.kubeconfig, namespace):
            pass


def test_find_job(namespace: str, proxy: KubeProxy) -> None:
    with runtime(proxy.kubeconfig, namespace) as own:
        assert own.find("attempt-1", job_spec(namespace)) is None
        assert own.find("attempt-1", pid=f"{namespace}:job") is None
        job = own.start(job_spec(namespace))
        assert own.find("attempt-1", job_spec(namespace)) == job
        assert own.find("attempt-1", pid=job.pid) == job
        proxy.answer(500, method="GET", path=JOBS_PATH)
        with pytest.raises(RuntimeUnavailable):
            own.find("attempt-1", job_spec(namespace))


def test_job_runs_in_the_configured_cluster(
    second_control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    config = Path(second_control_plane.kubeconfig).read_text()
    with second_control_plane.namespace() as remote:
        job_there = job_spec(
            namespace,
            configuration={"namespace": remote, "cluster_config": {"config": config}},
        )
        with runtime(proxy.kubeconfig, namespace) as own, recording(own) as recorder:
            job = own.start(job_there)
            assert job.location.endswith(f"/{remote}")
            recorder.wait_for(lambda update: update == JobsListed(job.location, (job,), 0.0))
            assert len(jobs(second_control_plane, remote)) == 1
        with runtime(proxy.kubeconfig, namespace) as later, recording(later) as recorder:
            with pytest.raises(RuntimeUnavailable):
                later.delete(job)
            later.find(job.attempt, job_there)
            recorder.wait_for(lambda update: update == JobsListed(job.location, (job,), 0.0))
            later.delete(job)
            recorder.wait_for(lambda update: update == JobVanished(job.attempt))
