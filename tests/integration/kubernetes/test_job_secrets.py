"""Secrets that hold the secret values of jobs, in a real cluster (Guarantee 24)."""

from __future__ import annotations

import pytest

from deployctl.jobs.rbac import JOBS, SECRETS
from deployctl.worker.model import RuntimeUnavailable, StartFailed
from deployctl.worker.settings import SecretKey
from tests.integration.kubernetes.conftest import MakeKubeProxy
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.proxy import KubeProxy
from tests.support.fast_timings import fast_timings
from tests.support.kubernetes_jobs import (
    API_KEY,
    JOBS_PATH,
    RecordingEventLog,
    job_spec,
    jobs,
    rules,
    runtime,
    secrets,
)
from tests.support.runtime_updates import recording
from tests.support.waiting import until


def test_values_are_in_a_secret_owned_by_the_job(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    with runtime(proxy.kubeconfig, namespace) as own:
        own.start(job_spec(namespace))

    (job,), (secret,) = jobs(control_plane, namespace), secrets(control_plane, namespace)
    assert API_KEY not in str(job)
    (owner,) = secret["metadata"]["ownerReferences"]
    assert owner["uid"] == job["metadata"]["uid"]


def test_finish_setup_sets_the_owner_of_a_secret(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    with runtime(proxy.kubeconfig, namespace, sleep=lambda _: None) as own:
        proxy.refuse(method="PATCH", times=None)
        with pytest.raises(RuntimeUnavailable):
            own.start(job_spec(namespace))
        proxy.clear()
        with recording(own) as recorder:
            (job,) = recorder.next_list()
        own.finish_setup(job)
        own.finish_setup(job)

    (secret,) = secrets(control_plane, namespace)
    assert len(secret["metadata"]["ownerReferences"]) == 1


def test_missing_right_to_patch_secrets_fails_no_run(namespace: str, proxy: KubeProxy) -> None:
    event_log = RecordingEventLog()
    proxy.answer(403, method="PATCH", times=None)
    with runtime(proxy.kubeconfig, namespace, event_log=event_log) as own:
        job = own.start(job_spec(namespace))
        own.finish_setup(job)

    assert event_log.warnings == ["secrets.patch_forbidden"]


def test_values_are_in_the_manifest_without_rights_with_one_warning(
    control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy
) -> None:
    proxy = kube_proxy(control_plane.account(rules(*JOBS), namespace))
    event_log = RecordingEventLog()
    with runtime(proxy.kubeconfig, namespace, event_log=event_log) as own:
        for attempt in ("attempt-1", "attempt-2"):
            own.start(job_spec(namespace, attempt))

    assert all(API_KEY in str(job) for job in jobs(control_plane, namespace))
    assert event_log.warnings.count("secrets.create_forbidden") == 1
    assert API_KEY not in str(event_log.entries)


def test_required_secret_without_rights_creates_no_job(
    control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy
) -> None:
    proxy = kube_proxy(control_plane.account(rules(*JOBS), namespace))
    settings = {"create_secret_for_api_key": True}
    with (
        runtime(proxy.kubeconfig, namespace, settings=settings) as own,
        pytest.raises(StartFailed),
    ):
        own.start(job_spec(namespace))

    assert jobs(control_plane, namespace) == []


def test_existing_secret_is_referred_to(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    settings = {"api_key_secret": SecretKey("ours", "key")}
    with runtime(proxy.kubeconfig, namespace, settings=settings) as own:
        own.start(job_spec(namespace))

    (job,) = jobs(control_plane, namespace)
    assert {"name": "ours", "key": "key"} in [
        item.get("valueFrom", {}).get("secretKeyRef")
        for item in job["spec"]["template"]["spec"]["containers"][0]["env"]
    ]
    assert secrets(control_plane, namespace) == []


def test_secret_of_a_refused_job_is_deleted(
    control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy
) -> None:
    proxy = kube_proxy(control_plane.account(rules(*JOBS, *SECRETS), namespace))
    broken = {"spec": {"template": {"spec": {"containers": [{"ports": 3}]}}}}
    with runtime(proxy.kubeconfig, namespace) as own, pytest.raises(StartFailed):
        own.start(job_spec(namespace, manifest=broken))

    assert secrets(control_plane, namespace) == []


def test_clean_up_deletes_the_secret(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    with runtime(proxy.kubeconfig, namespace, sleep=lambda _: None) as own:
        proxy.answer(503, method="POST", path=JOBS_PATH, times=None)
        with pytest.raises(RuntimeUnavailable):
            own.start(job_spec(namespace))
        assert len(secrets(control_plane, namespace)) == 1
        own.clean_up(job_spec(namespace))
        own.clean_up(job_spec(namespace))

    assert secrets(control_plane, namespace) == []


@pytest.mark.parametrize("fault", [503, None])
def test_failed_delete_of_a_secret_is_retried_with_the_next_job(
    control_plane: Cluster, namespace: str, proxy: KubeProxy, fault: int | None
) -> None:
    with runtime(proxy.kubeconfig, namespace, sleep=lambda _: None) as own:
        proxy.answer(503, method="POST", path=JOBS_PATH, times=3)
        with pytest.raises(RuntimeUnavailable):
            own.start(job_spec(namespace))
        if fault:
            proxy.answer(fault, method="DELETE")
        else:
            proxy.refuse(method="DELETE", times=1)
        own.clean_up(job_spec(namespace))
        assert len(secrets(control_plane, namespace)) == 1
        job = own.start(job_spec(namespace, "attempt-2"))

    assert [each["metadata"]["name"] for each in secrets(control_plane, namespace)] == [job.name]


def test_clean_up_without_right_to_delete_is_silent(namespace: str, proxy: KubeProxy) -> None:
    event_log = RecordingEventLog()
    proxy.answer(403, method="DELETE")
    with runtime(proxy.kubeconfig, namespace, event_log=event_log) as own:
        own.clean_up(job_spec(namespace))

    assert event_log.entries == []


def test_secret_whose_job_never_came_is_swept(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    """Not those of jobs that exist, of attempts that may still get one, and young ones."""

    def left() -> set[str]:
        return {each["metadata"]["name"] for each in secrets(control_plane, namespace)}

    timings = fast_timings(sweep_age=0.0)
    with (
        runtime(proxy.kubeconfig, namespace) as careful,
        runtime(proxy.kubeconfig, namespace, sleep=lambda _: None, timings=timings) as own,
    ):
        job = own.start(job_spec(namespace, "attempt-1"))
        proxy.answer(503, method="POST", path=JOBS_PATH, times=None)
        names = [job.name]
        for attempt in ("attempt-2", "attempt-3"):
            spec = job_spec(namespace, attempt)
            names.append(spec.name)
            with pytest.raises(RuntimeUnavailable):
                own.start(spec)
        careful.sweep(())
        assert left() == {*names}

        def swept() -> bool:
            own.sweep({"attempt-2"})
            return names[2] not in left()

        until(swept, lambda: str(left()))
    assert left() == {*names[:2]}


def test_sweep_without_the_right_to_list_is_silent(
    control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy
) -> None:
    event_log = RecordingEventLog()
    proxy = kube_proxy(control_plane.account(rules(*JOBS), namespace))
    with runtime(proxy.kubeconfig, namespace, event_log=event_log) as own:
        own.start(job_spec(namespace))
        warnings = event_log.warnings
        own.sweep(())
    assert event_log.warnings == warnings
    assert [each.status for each in proxy.seen("GET", "/secrets$")] == [403]
