"""Causes from the messages of a real API server and a real Job controller."""

from __future__ import annotations

import time
from typing import Any

import pytest

from deployctl.core.json_values import Json
from deployctl.worker.model import Cause, Job, Phase
from deployctl.worker.runtimes.kubernetes.api_errors import api_error_cause, events_cause
from deployctl.worker.runtimes.kubernetes.status import combine, job_status, pod_status
from tests.support.cluster.api import KubeApi, Refused
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.pods import SCHEDULER, Kubelet
from tests.support.kubernetes_jobs import quota
from tests.support.waiting import until

DEADLINE = 2


def job(name: str = "hello", container: Json = None, pod: Json = None, **spec: Any) -> Json:
    own = {"name": "prefect-job", "image": "example/flow:1"} | (container or {})
    inner = {"restartPolicy": "Never", "schedulerName": SCHEDULER, "containers": [own]}
    template = {"spec": inner | (pod or {})}
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template} | spec}


def refused(api: KubeApi, namespace: str, manifest: Json) -> Cause:
    """The cause for which the Job is refused."""
    with pytest.raises(Refused) as answer:
        api.request("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", manifest)
    error = answer.value
    return api_error_cause(error.status, error.reason, error.message)


MANIFESTS = {
    "a field is missing": (
        job(container={"image": ""}),
        "spec.template.spec.containers[0].image: Required value",
    ),
    "a number is a text": (
        job(backoffLimit="many"),
        "backoffLimit is a string, and has to be a int32",
    ),
    "a value that a Job can't have": (
        job(pod={"restartPolicy": "Always"}),
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
    ),
    "a quantity that is none": (
        job(container={"resources": {"limits": {"memory": "lots"}}}),
        "quantities must match the regular expression",
    ),
}


@pytest.mark.parametrize(("manifest", "text"), MANIFESTS.values(), ids=MANIFESTS)
def test_invalid_manifest_names_the_field(
    control_plane: Cluster, namespace: str, manifest: Json, text: str
) -> None:
    cause = refused(control_plane.admin, namespace, manifest)
    assert cause.code == "BadManifest"
    assert text in cause.message


def test_missing_right_is_named(control_plane: Cluster, namespace: str) -> None:
    cause = refused(control_plane.account([], namespace), namespace, job())
    assert cause.code == "Forbidden"
    assert cause.message.endswith(f"may not create jobs in the namespace '{namespace}'")
    assert "'create' on 'jobs' of the API group 'batch'" in cause.help


def test_missing_namespace(control_plane: Cluster) -> None:
    cause = refused(control_plane.admin, "nowhere", job())
    assert (cause.code, cause.message) == ("NoNamespace", "there is no namespace 'nowhere'")


def test_exhausted_quota_of_jobs(control_plane: Cluster, namespace: str) -> None:
    quota(control_plane, namespace, {"count/jobs.batch": "0"})
    cause = refused(control_plane.admin, namespace, job())
    assert cause.code == "Quota"
    assert cause.message.startswith("the quota 'small' of the namespace is used up")


def without_pod(control_plane: Cluster, namespace: str, manifest: Json) -> Cause:
    """The cause for which a Job gets no pod."""
    control_plane.request("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", manifest)
    path = f"/api/v1/namespaces/{namespace}/events"
    cause = until(
        lambda: events_cause(control_plane.admin.items(path)), lambda: "no event explains it"
    )
    assert cause is not None
    return cause


def test_exhausted_quota_of_pods(control_plane: Cluster, namespace: str) -> None:
    quota(control_plane, namespace, {"pods": "0"})
    cause = without_pod(control_plane, namespace, job())
    assert (cause.code, cause.stuck) == ("Quota", True)
    assert "pods=1 more of pods=0" in cause.message


def test_quota_that_requires_limits(control_plane: Cluster, namespace: str) -> None:
    quota(control_plane, namespace, {"limits.memory": "1Gi"})
    cause = without_pod(control_plane, namespace, job())
    assert (cause.code, cause.stuck) == ("Quota", True)
    assert "limits.memory" in cause.message


def test_limit_range(control_plane: Cluster, namespace: str) -> None:
    spec = {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]}
    body = {"metadata": {"name": "small"}, "spec": spec}
    control_plane.request("POST", f"/api/v1/namespaces/{namespace}/limitranges", body)
    manifest = job(container={"resources": {"limits": {"memory": "2Gi"}}})
    cause = without_pod(control_plane, namespace, manifest)
    assert cause.code == "LimitRange"
    assert "maximum memory usage per Container is 1Gi" in cause.message


def test_pod_security(control_plane: Cluster, namespace: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body = {"metadata": {"labels": labels}}
    control_plane.request("PATCH", f"/api/v1/namespaces/{namespace}", body)
    cause = without_pod(control_plane, namespace, job())
    assert cause.code == "PodSecurity"
    assert "runAsNonRoot" in cause.message


def test_missing_service_account(control_plane: Cluster, namespace: str) -> None:
    cause = without_pod(control_plane, namespace, job(pod={"serviceAccountName": "missing"}))
    assert (cause.code, cause.message) == (
        "NoServiceAccount",
        "there is no service account 'missing'",
    )


class Watched:
    """A Job handled by the real controller, as a worker sees it."""

    def __init__(self, plane: Cluster, namespace: str, **spec: Any) -> None:
        self._plane = plane
        self._namespace = namespace
        plane.request("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", job(**spec))

        self.path = f"/apis/batch/v1/namespaces/{namespace}/jobs/hello"

    def job(self) -> Job:
        pods = self._plane.admin.items(f"/api/v1/namespaces/{self._namespace}/pods")
        statuses = [pod_status(pod) for pod in pods]
        return combine(
            job_status(self._plane.request("GET", self.path)), statuses, location="", pid=""
        )

    def ended(self) -> Job:
        until(lambda: self.job().phase.is_over, self.job)
        return self.job()


def test_job_from_start_to_success(
    control_plane: Cluster, namespace: str, kubelet: Kubelet
) -> None:
    watched = Watched(control_plane, namespace)
    pod = kubelet.pod_of("hello")
    assert (watched.job().phase, watched.job().started) == (Phase.WAITING, False)
    kubelet.running(pod)
    assert (watched.job().phase, watched.job().started) == (Phase.RUNNING, True)
    kubelet.succeeded(pod)
    assert watched.ended().phase is Phase.SUCCEEDED
    kubelet.remove_terminating()


def test_missing_image(control_plane: Cluster, namespace: str, kubelet: Kubelet) -> None:
    watched = Watched(control_plane, namespace)
    kubelet.waiting(kubelet.pod_of("hello"), "ErrImagePull", "example/flow:1: not found")
    known = watched.job()
    assert known.cause is not None
    assert (known.phase, known.cause.code, known.cause.stuck) == (
        Phase.WAITING,
        "ImagePullError",
        True,
    )


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("failed", "ExitCode"),
        ("evicted", "Evicted"),
        ("preempted", "Preempted"),
        ("node_lost", "NodeLost"),
    ],
)
def test_job_fails_with_the_cause_of_its_pod(
    control_plane: Cluster, namespace: str, kubelet: Kubelet, how: str, code: str
) -> None:
    watched = Watched(control_plane, namespace)
    pod = kubelet.pod_of("hello")
    kubelet.running(pod)
    getattr(kubelet, how)(pod)
    known = watched.ended()
    assert known.cause is not None
    assert (known.phase, known.cause.code) == (Phase.FAILED, code)


def test_crash_detection_from_conditions(
    control_plane: Cluster, namespace: str, kubelet: Kubelet
) -> None:
    """A deadline fails a Job that has tries left, and whose count of failures is 0."""
    watched = Watched(control_plane, namespace, backoffLimit=3)
    kubelet.running(kubelet.pod_of("hello"))
    deadline = {"spec": {"activeDeadlineSeconds": DEADLINE}}
    control_plane.request("PATCH", watched.path, deadline)
    known = watched.ended()
    assert known.cause is not None
    assert (known.phase, known.cause.code) == (Phase.FAILED, "DeadlineExceeded")
    assert f"deadline of {DEADLINE} seconds" in known.cause.message
    until(lambda: watched.job().since > time.time(), lambda: "its pod has no time to report")


def test_failure_policy_ends_a_job_with_tries_left(
    control_plane: Cluster, namespace: str, kubelet: Kubelet
) -> None:
    rule = {
        "action": "FailJob",
        "onExitCodes": {"containerName": "prefect-job", "operator": "In", "values": [42]},
    }
    policy = {"rules": [rule]}
    watched = Watched(control_plane, namespace, backoffLimit=3, podFailurePolicy=policy)
    pod = kubelet.pod_of("hello")
    kubelet.failed(pod, 42)
    known = watched.ended()
    assert known.cause is not None
    assert (known.phase, known.cause.code) == (Phase.FAILED, "ExitCode")


def test_job_with_tries_left_waits_for_the_next(
    control_plane: Cluster, namespace: str, kubelet: Kubelet
) -> None:
    watched = Watched(control_plane, namespace, backoffLimit=1)
    pod = kubelet.pod_of("hello")
    kubelet.running(pod)
    kubelet.failed(pod)
    known = watched.job()
    assert (known.phase, known.started) == (Phase.WAITING, True)
    kubelet.running(kubelet.pod_of("hello", other_than=pod))
    assert watched.job().phase is Phase.RUNNING


def test_suspended_job(control_plane: Cluster, namespace: str) -> None:
    known = Watched(control_plane, namespace, suspend=True).job()
    assert known.cause is not None
    assert (known.phase, known.cause.code) == (Phase.WAITING, "Suspended")
