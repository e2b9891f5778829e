"""Jobs in a real Kubernetes API, behind a proxy that breaks what it is told to."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from deployctl.worker.model import (
    Job,
    JobsListed,
    JobVanished,
    Phase,
    RuntimeUnavailable,
    StartFailed,
)
from deployctl.worker.runtimes.kubernetes.rbac import JOBS, SECRETS
from deployctl.worker.settings import SecretKey
from tests.integration.kubernetes.conftest import MakeKubeProxy
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.pods import Kubelet
from tests.support.cluster.proxy import KubeProxy
from tests.support.kubernetes_jobs import API_KEY, Notes, described, quota, rules, runtime
from tests.support.runtime_news import watching
from tests.support.waiting import until

JOBS_PATH = "/jobs$"


def jobs(plane: Cluster, namespace: str) -> list[Any]:
    return plane.admin.items(f"/apis/batch/v1/namespaces/{namespace}/jobs")


def secrets(plane: Cluster, namespace: str) -> list[Any]:
    return plane.admin.items(f"/api/v1/namespaces/{namespace}/secrets")


@pytest.fixture
def proxy(kube_proxy: MakeKubeProxy) -> KubeProxy:
    return kube_proxy()


@pytest.mark.parametrize("fault", ["drop", "refuse", "500", "503", "409"])
def test_one_job_per_attempt_whatever_becomes_of_the_answer(
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
        job = own.start(described(namespace))

    assert (job.attempt, job.location, job.phase) == ("attempt-1", namespace, Phase.WAITING)
    assert [each["metadata"]["name"] for each in jobs(control_plane, namespace)] == [job.name]


def test_a_job_whose_answer_was_lost_is_adopted_although_it_has_used_up_the_quota(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    quota(control_plane, namespace, {"count/jobs.batch": "1"})
    proxy.drop_answer(method="POST", path=JOBS_PATH)
    with runtime(proxy.kubeconfig, namespace) as own:
        job = own.start(described(namespace))

    assert [each.status for each in proxy.seen("POST", JOBS_PATH)][-1] == 403
    assert [each["metadata"]["name"] for each in jobs(control_plane, namespace)] == [job.name]
    assert [each["metadata"]["name"] for each in secrets(control_plane, namespace)] == [job.name]


def test_a_job_that_is_gone_between_two_looks_is_left_to_the_caller(
    namespace: str, proxy: KubeProxy
) -> None:
    with runtime(proxy.kubeconfig, namespace) as own:
        job = own.start(described(namespace))
        proxy.answer(404, method="GET", path=f"{JOBS_PATH[:-1]}/{job.name}$")
        with pytest.raises(RuntimeUnavailable):
            own.start(described(namespace))

    assert len(proxy.seen("POST", JOBS_PATH)) == 2


def test_one_job_per_attempt_when_two_workers_create_it_at_once(
    control_plane: Cluster, namespace: str, proxy: KubeProxy, kubelet: Kubelet
) -> None:
    proxy.delay(0.3, method="POST", path=JOBS_PATH, times=2)
    created: list[Job] = []
    with runtime(proxy.kubeconfig, namespace) as one, runtime(proxy.kubeconfig, namespace) as two:
        threads = [
            threading.Thread(target=lambda own=own: created.append(own.start(described(namespace))))
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


def test_a_second_attempt_of_a_run_has_a_job_of_its_own(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    with runtime(proxy.kubeconfig, namespace) as own:
        own.start(described(namespace, "attempt-1"))
        own.start(described(namespace, "attempt-2"))

    assert len(jobs(control_plane, namespace)) == 2


def test_a_job_of_somebody_else_is_not_adopted(namespace: str, proxy: KubeProxy) -> None:
    with runtime(proxy.kubeconfig, namespace) as own:
        own.start(described(namespace, "attempt-1", name="the-name"))
        with pytest.raises(StartFailed) as failed:
            own.start(described(namespace, "attempt-2", name="the-name"))

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
def test_what_the_cluster_will_never_take_is_said_after_one_try(
    namespace: str, proxy: KubeProxy, changes: dict[str, Any], code: str
) -> None:
    with runtime(proxy.kubeconfig, namespace) as own, pytest.raises(StartFailed) as failed:
        own.start(described(namespace, **changes, secret_env=frozenset()))

    assert len(proxy.seen("POST", JOBS_PATH)) <= 1
    assert failed.value.cause.code == code


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_left_to_the_caller_after_a_few_tries(
    control_plane: Cluster, namespace: str, proxy: KubeProxy, status: int
) -> None:
    with runtime(proxy.kubeconfig, namespace, sleep=lambda _: None) as own:
        proxy.answer(status, method="POST", path=JOBS_PATH, times=None)
        with pytest.raises(RuntimeUnavailable):
            own.start(described(namespace))
        assert len(proxy.seen("POST", JOBS_PATH)) == 3
        proxy.clear()
        own.start(described(namespace))

    assert len(jobs(control_plane, namespace)) == 1


def test_a_job_starts_after_an_outage_of_the_cluster(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    with runtime(proxy.kubeconfig, namespace, sleep=lambda _: None) as own:
        proxy.stop_after(len(proxy.exchanges))
        with pytest.raises(RuntimeUnavailable):
            own.start(described(namespace))
        proxy.clear()
        own.start(described(namespace))

    assert len(jobs(control_plane, namespace)) == 1


def test_a_stopped_job_goes_with_its_pods_and_its_secret(
    control_plane: Cluster, namespace: str, proxy: KubeProxy, kubelet: Kubelet
) -> None:
    with runtime(proxy.kubeconfig, namespace) as own, watching(own) as heard:
        job = own.start(described(namespace))
        kubelet.running(kubelet.pod_of(job.name))
        assert heard.job(Phase.RUNNING).started
        own.stop(job)
        heard.until(lambda news: getattr(getattr(news, "job", None), "ending", False))
        kubelet.remove_job(job.name)
        heard.until(lambda news: news == JobVanished(job.attempt))
        own.stop(job)

    assert jobs(control_plane, namespace) == []
    until(lambda: not secrets(control_plane, namespace), lambda: "the Secret stays")


class TestSecrets:
    """Guarantee 24."""

    def test_values_stand_in_a_secret_that_belongs_to_the_job(
        self, control_plane: Cluster, namespace: str, proxy: KubeProxy
    ) -> None:
        with runtime(proxy.kubeconfig, namespace) as own:
            own.start(described(namespace))

        (job,), (secret,) = jobs(control_plane, namespace), secrets(control_plane, namespace)
        assert API_KEY not in str(job)
        (owner,) = secret["metadata"]["ownerReferences"]
        assert owner["uid"] == job["metadata"]["uid"]

    def test_a_secret_without_owner_gets_one_when_its_job_is_settled(
        self, control_plane: Cluster, namespace: str, proxy: KubeProxy
    ) -> None:
        with runtime(proxy.kubeconfig, namespace, sleep=lambda _: None) as own:
            proxy.refuse(method="PATCH", times=None)
            with pytest.raises(RuntimeUnavailable):
                own.start(described(namespace))
            proxy.clear()
            with watching(own) as heard:
                (job,) = heard.listed()
            own.finish_setup(job)
            own.finish_setup(job)

        (secret,) = secrets(control_plane, namespace)
        assert len(secret["metadata"]["ownerReferences"]) == 1

    def test_a_cluster_that_lets_no_secret_be_changed_ends_no_run(
        self, namespace: str, proxy: KubeProxy
    ) -> None:
        notes = Notes()
        proxy.answer(403, method="PATCH", times=None)
        with runtime(proxy.kubeconfig, namespace, notes=notes) as own:
            job = own.start(described(namespace))
            own.finish_setup(job)

        assert notes.warnings == ["secrets.patch_forbidden"]

    def test_without_the_right_values_stand_in_the_manifest_and_one_warning_says_so(
        self, control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy
    ) -> None:
        proxy = kube_proxy(control_plane.account(rules(*JOBS), namespace))
        notes = Notes()
        with runtime(proxy.kubeconfig, namespace, notes=notes) as own:
            for attempt in ("attempt-1", "attempt-2"):
                own.start(described(namespace, attempt))

        assert all(API_KEY in str(job) for job in jobs(control_plane, namespace))
        assert notes.warnings.count("secrets.create_forbidden") == 1
        assert API_KEY not in str(notes.told)

    def test_without_the_right_values_that_are_to_be_secret_are_not_shown(
        self, control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy
    ) -> None:
        proxy = kube_proxy(control_plane.account(rules(*JOBS), namespace))
        settings = {"create_secret_for_api_key": True}
        with (
            runtime(proxy.kubeconfig, namespace, settings=settings) as own,
            pytest.raises(StartFailed),
        ):
            own.start(described(namespace))

        assert jobs(control_plane, namespace) == []

    def test_an_existing_secret_is_referred_to_and_none_is_made(
        self, control_plane: Cluster, namespace: str, proxy: KubeProxy
    ) -> None:
        settings = {"api_key_secret": SecretKey("ours", "key")}
        with runtime(proxy.kubeconfig, namespace, settings=settings) as own:
            own.start(described(namespace))

        (job,) = jobs(control_plane, namespace)
        assert {"name": "ours", "key": "key"} in [
            item.get("valueFrom", {}).get("secretKeyRef")
            for item in job["spec"]["template"]["spec"]["containers"][0]["env"]
        ]
        assert secrets(control_plane, namespace) == []

    def test_the_secret_of_a_job_that_cannot_be_is_taken_back(
        self, control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy
    ) -> None:
        proxy = kube_proxy(control_plane.account(rules(*JOBS, *SECRETS), namespace))
        broken = {"spec": {"template": {"spec": {"containers": [{"ports": 3}]}}}}
        with runtime(proxy.kubeconfig, namespace) as own, pytest.raises(StartFailed):
            own.start(described(namespace, manifest=broken))

        assert secrets(control_plane, namespace) == []

    def test_the_secret_of_a_job_that_did_not_come_goes_when_the_job_is_given_up(
        self, control_plane: Cluster, namespace: str, proxy: KubeProxy
    ) -> None:
        with runtime(proxy.kubeconfig, namespace, sleep=lambda _: None) as own:
            proxy.answer(503, method="POST", path=JOBS_PATH, times=None)
            with pytest.raises(RuntimeUnavailable):
                own.start(described(namespace))
            assert len(secrets(control_plane, namespace)) == 1
            own.clean_up(described(namespace))
            own.clean_up(described(namespace))

        assert secrets(control_plane, namespace) == []

    @pytest.mark.parametrize("fault", [503, None])
    def test_the_secret_of_a_job_that_was_given_up_in_an_outage_goes_with_the_next_job(
        self, control_plane: Cluster, namespace: str, proxy: KubeProxy, fault: int | None
    ) -> None:
        with runtime(proxy.kubeconfig, namespace, sleep=lambda _: None) as own:
            proxy.answer(503, method="POST", path=JOBS_PATH, times=3)
            with pytest.raises(RuntimeUnavailable):
                own.start(described(namespace))
            if fault:
                proxy.answer(fault, method="DELETE")
            else:
                proxy.refuse(method="DELETE", times=1)
            own.clean_up(described(namespace))
            assert len(secrets(control_plane, namespace)) == 1
            job = own.start(described(namespace, "attempt-2"))

        assert [each["metadata"]["name"] for each in secrets(control_plane, namespace)] == [
            job.name
        ]

    def test_who_may_not_delete_secrets_gives_a_job_up_without_a_word(
        self, namespace: str, proxy: KubeProxy
    ) -> None:
        notes = Notes()
        proxy.answer(403, method="DELETE")
        with runtime(proxy.kubeconfig, namespace, notes=notes) as own:
            own.clean_up(described(namespace))

        assert notes.told == []


class TestOwner:
    """Who answers for jobs: the cluster, the namespace and the pool."""

    def test_it_is_named_by_the_uid_of_kube_system(
        self, control_plane: Cluster, namespace: str, proxy: KubeProxy
    ) -> None:
        with runtime(proxy.kubeconfig, namespace) as own:
            assert own.owner == f"{control_plane.uid}/{namespace}/{namespace}"

    def test_it_is_named_by_the_authority_where_kube_system_may_not_be_read(
        self, control_plane: Cluster, namespace: str
    ) -> None:
        config = control_plane.kubeconfig_for(rules(*JOBS), namespace)
        other = control_plane.kubeconfig_for(rules(*JOBS), namespace)
        notes = Notes()
        with (
            runtime(config, namespace, notes=notes) as one,
            runtime(other, namespace) as two,
        ):
            assert one.owner == two.owner
        assert notes.warnings == ["cluster.uid_unavailable"]

    def test_it_has_the_name_that_the_settings_give_it(
        self, namespace: str, proxy: KubeProxy
    ) -> None:
        with runtime(proxy.kubeconfig, namespace, settings={"cluster_uid": "mine"}, major=2) as own:
            assert own.owner == f"mine/{namespace}/{namespace}"
            assert own.start(described(namespace)).pid == f"mine:{namespace}:job-attempt-1"

    def test_a_cluster_that_does_not_answer_has_no_name_yet(
        self, namespace: str, proxy: KubeProxy
    ) -> None:
        proxy.answer(503, path="kube-system")
        with pytest.raises(RuntimeUnavailable), runtime(proxy.kubeconfig, namespace):
            pass


def test_a_job_is_found_where_it_would_be(namespace: str, proxy: KubeProxy) -> None:
    with runtime(proxy.kubeconfig, namespace) as own:
        assert own.find("attempt-1", described(namespace)) is None
        assert own.find("attempt-1", pid=f"{namespace}:job") is None
        job = own.start(described(namespace))
        assert own.find("attempt-1", described(namespace)) == job
        assert own.find("attempt-1", pid=job.pid) == job
        proxy.answer(500, method="GET", path=JOBS_PATH)
        with pytest.raises(RuntimeUnavailable):
            own.find("attempt-1", described(namespace))


def test_a_job_runs_in_the_cluster_that_its_configuration_names(
    second_control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    config = Path(second_control_plane.kubeconfig).read_text()
    with second_control_plane.namespace() as remote:
        job_there = described(
            namespace,
            configuration={"namespace": remote, "cluster_config": {"config": config}},
        )
        with runtime(proxy.kubeconfig, namespace) as own, watching(own) as heard:
            job = own.start(job_there)
            assert job.location.endswith(f"/{remote}")
            heard.until(lambda news: news == JobsListed(job.location, (job,), 0.0))
            assert len(jobs(second_control_plane, remote)) == 1
        with runtime(proxy.kubeconfig, namespace) as later, watching(later) as heard:
            with pytest.raises(RuntimeUnavailable):
                later.stop(job)
            later.find(job.attempt, job_there)
            heard.until(lambda news: news == JobsListed(job.location, (job,), 0.0))
            later.stop(job)
            heard.until(lambda news: news == JobVanished(job.attempt))
