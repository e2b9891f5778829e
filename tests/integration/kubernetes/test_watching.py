"""Watches of the Kubernetes runtime with faults between it and a real API server.

Guarantees 6 and 18.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployctl.jobs.model import Limits
from deployctl.jobs.rbac import EVENTS, JOBS, SECRETS
from deployctl.worker.model import (
    EventObserved,
    JobChanged,
    JobsListed,
    LinePrinted,
    Phase,
    RuntimeUpdate,
)
from deployctl.worker.runtimes.kubernetes.runtime import KubernetesRuntime
from deployctl.worker.timings import Timings
from tests.integration.kubernetes.conftest import MakeKubeProxy
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.pods import Kubelet
from tests.support.cluster.proxy import KubeProxy, error
from tests.support.kubernetes_jobs import POD, RecordingEventLog, job_spec, quota, rules, runtime
from tests.support.runtime_updates import UpdateRecorder, recording
from tests.support.waiting import until

IDLE_TIMEOUT = 5.0
WATCHES = ("/jobs$", "/pods$")


@pytest.fixture
def own(proxy: KubeProxy, namespace: str) -> Iterator[KubernetesRuntime]:
    with runtime(proxy.kubeconfig, namespace) as made:
        yield made


@pytest.fixture
def recorder(own: KubernetesRuntime, proxy: KubeProxy) -> Iterator[UpdateRecorder]:
    with recording(own) as recorder:
        for path in WATCHES:
            proxy.await_watch(path)
        assert recorder.next_list() == []
        yield recorder


def fails(
    own: KubernetesRuntime, recorder: UpdateRecorder, kubelet: Kubelet, namespace: str
) -> None:
    """A job that fails now is emitted with its cause."""
    job = own.start(job_spec(namespace, "later"))
    kubelet.failed(kubelet.pod_of(job.name), 137, "OOMKilled")

    def has_cause(update: RuntimeUpdate) -> bool:
        jobs = update.jobs if isinstance(update, JobsListed) else (getattr(update, "job", None),)
        causes = [each.cause for each in jobs if each and each.phase is Phase.FAILED]
        return any(cause and cause.code == "OOMKilled" for cause in causes)

    recorder.wait_for(has_cause)


def await_health(own: KubernetesRuntime, problem: str) -> None:
    """Wait until one of the watches has this problem, or none has if it is empty."""

    def problems() -> list[str]:
        return [watch.problem for watch in own.watch_statuses()]

    until(
        lambda: any(problem in each for each in problems()) if problem else not any(problems()),
        problems,
    )


class TestNoWatchDiesInSilence:
    """Guarantee 6."""

    @pytest.mark.parametrize("code", [410, 500, 403])
    def test_error_event(
        self,
        own: KubernetesRuntime,
        recorder: UpdateRecorder,
        proxy: KubeProxy,
        kubelet: Kubelet,
        namespace: str,
        code: int,
    ) -> None:
        lists = len(proxy.seen("GET", "s$"))
        assert proxy.say(error(code, "Because")) == 2
        recorder.next_list()
        until(lambda: len(proxy.seen("GET", "s$")) >= lists + 2, lambda: "it is not listed again")
        assert len(proxy.seen("GET", "s$")) == lists + 2
        fails(own, recorder, kubelet, namespace)

    def test_truncated_line(
        self,
        own: KubernetesRuntime,
        recorder: UpdateRecorder,
        proxy: KubeProxy,
        kubelet: Kubelet,
        namespace: str,
    ) -> None:
        proxy.cut()
        fails(own, recorder, kubelet, namespace)

    def test_half_open_connection(self, proxy: KubeProxy, kubelet: Kubelet, namespace: str) -> None:
        with (
            runtime(
                proxy.kubeconfig, namespace, timings=Timings(watch_idle_timeout=IDLE_TIMEOUT)
            ) as own,
            recording(own) as recorder,
        ):
            for path in WATCHES:
                proxy.await_watch(path)
            assert proxy.freeze() == 2
            fails(own, recorder, kubelet, namespace)

    @pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
    def test_temporary_refusals(
        self,
        own: KubernetesRuntime,
        recorder: UpdateRecorder,
        proxy: KubeProxy,
        kubelet: Kubelet,
        namespace: str,
        status: int,
    ) -> None:
        proxy.answer(status, path="s$", times=None)
        proxy.say(error(500, "InternalError"))
        await_health(own, f"({status})")
        proxy.clear()
        await_health(own, "")
        fails(own, recorder, kubelet, namespace)

    def test_refused_connections(
        self,
        own: KubernetesRuntime,
        recorder: UpdateRecorder,
        proxy: KubeProxy,
        kubelet: Kubelet,
        namespace: str,
    ) -> None:
        proxy.stop_after(len(proxy.exchanges))
        await_health(own, "no response")
        proxy.clear()
        await_health(own, "")
        fails(own, recorder, kubelet, namespace)

    def test_cluster_down_at_startup(
        self, own: KubernetesRuntime, proxy: KubeProxy, kubelet: Kubelet, namespace: str
    ) -> None:
        proxy.stop_after(len(proxy.exchanges))
        with recording(own) as recorder:
            await_health(own, "no response")
            proxy.clear()
            recorder.next_list()
            fails(own, recorder, kubelet, namespace)


def test_changes_between_two_watches_are_emitted(
    control_plane: Cluster,
    own: KubernetesRuntime,
    recorder: UpdateRecorder,
    proxy: KubeProxy,
    kube_proxy: MakeKubeProxy,
    namespace: str,
) -> None:
    job = own.start(job_spec(namespace, "gone"))
    recorder.wait_for(lambda update: update == JobChanged(job))
    proxy.answer(500, path="s$", times=None)
    proxy.say(error(500, "InternalError"))
    await_health(own, "(500)")
    with runtime(kube_proxy().kubeconfig, namespace) as other:
        other.delete(job)
        there = other.start(job_spec(namespace, "new"))
    Kubelet(control_plane.admin, namespace).remove_job(job.name)
    proxy.clear()

    assert recorder.wait_for(lambda update: update == JobsListed(namespace, (there,), 0.0))


def test_falls_back_to_single_namespaces(
    control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy
) -> None:
    with control_plane.namespace() as second:
        proxy = kube_proxy(control_plane.account(rules(*JOBS, *SECRETS), namespace))
        admit(control_plane, namespace, second)
        event_log = RecordingEventLog()
        with (
            runtime(proxy.kubeconfig, namespace, event_log=event_log) as own,
            recording(own) as recorder,
        ):
            assert recorder.next_list() == []
            own.start(job_spec(namespace, "there", configuration={"namespace": second}))
            recorder.wait_for(
                lambda update: isinstance(update, JobsListed) and update.location == second
            )
            pod = Kubelet(control_plane.admin, second).pod_of("job-there")
            Kubelet(control_plane.admin, second).running(pod)
            recorder.wait_for_phase(Phase.RUNNING)
            fails(own, recorder, Kubelet(control_plane.admin, namespace), namespace)
            assert {watch.location for watch in own.watch_statuses()} == {namespace, second}
        assert event_log.warnings.count("watch.narrowed") == 1


def test_only_configured_namespaces_are_watched(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    with control_plane.namespace() as second:
        settings = {"namespaces": (second,)}
        with (
            runtime(proxy.kubeconfig, namespace, settings=settings) as own,
            recording(own) as recorder,
        ):
            assert recorder.wait_for(lambda update: isinstance(update, JobsListed)) == JobsListed(
                second, (), 0.0
            )
            for path in WATCHES:
                proxy.await_watch(path)
            watched = {exchange.path for exchange in proxy.seen("WATCH")}
    assert watched == {
        f"/apis/batch/v1/namespaces/{second}/jobs",
        f"/api/v1/namespaces/{second}/pods",
    }


def test_two_watches_per_cluster(
    control_plane: Cluster,
    own: KubernetesRuntime,
    recorder: UpdateRecorder,
    proxy: KubeProxy,
    namespace: str,
) -> None:
    with control_plane.namespace() as second:
        for location in (namespace, second):
            for number in range(5):
                attempt = f"{location}-{number}"
                own.start(job_spec(namespace, attempt, configuration={"namespace": location}))
                recorder.wait_for_phase(Phase.WAITING)
        assert len(proxy.watches()) == 2
    assert len(proxy.seen("WATCH")) == 2


def test_jobs_of_other_pools_are_ignored(
    own: KubernetesRuntime, recorder: UpdateRecorder, namespace: str
) -> None:
    own.start(job_spec(namespace, "foreign", pool="another"))
    job = own.start(job_spec(namespace, "own"))

    recorder.wait_for(lambda update: update == JobChanged(job))
    assert all("foreign" not in str(update) for update in recorder.received)


def test_jobs_of_another_owner_are_ignored(
    own: KubernetesRuntime, recorder: UpdateRecorder, namespace: str, proxy: KubeProxy
) -> None:
    """A worker in another namespace may serve the same pool; its jobs are not ours."""
    elsewhere = {"cluster_uid": "elsewhere"}
    with runtime(proxy.kubeconfig, namespace, settings=elsewhere) as other:
        other.start(job_spec(namespace, "foreign"))
    job = own.start(job_spec(namespace, "own"))

    recorder.wait_for(lambda update: update == JobChanged(job))
    assert all("foreign" not in str(update) for update in recorder.received)


def test_job_without_pod_is_explained(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    timings = Timings(unexplained_after=0.0, events_interval=0.5)
    quota(control_plane, namespace, {"pods": "0"})
    with (
        runtime(proxy.kubeconfig, namespace, timings=timings) as own,
        recording(own) as recorder,
    ):
        own.start(job_spec(namespace))
        update = recorder.wait_for(
            lambda it: isinstance(it, JobChanged) and it.job.cause is not None
        )
    assert isinstance(update, JobChanged)
    assert update.job.cause is not None
    assert update.job.cause.code == "Quota"


def test_jobs_are_watched_without_the_right_to_events(
    control_plane: Cluster,
    namespace: str,
    kube_proxy: MakeKubeProxy,
) -> None:
    timings = Timings(unexplained_after=0.0)
    proxy = kube_proxy(control_plane.account(rules(*JOBS), namespace))
    event_log = RecordingEventLog()
    with (
        runtime(proxy.kubeconfig, namespace, event_log=event_log, timings=timings) as own,
        recording(own) as recorder,
    ):
        own.start(job_spec(namespace, "first"))
        until(
            lambda: "events.forbidden" in [event for _, event, _ in event_log.entries],
            lambda: str(event_log.entries),
        )
        fails(own, recorder, Kubelet(control_plane.admin, namespace), namespace)


def test_each_phase_of_a_pod_is_emitted_once(
    own: KubernetesRuntime, recorder: UpdateRecorder, kubelet: Kubelet, namespace: str
) -> None:
    job = own.start(job_spec(namespace))
    pod = kubelet.pod_of(job.name)
    kubelet.running(pod)
    kubelet.succeeded(pod)
    own_end = recorder.wait_for_phase(Phase.SUCCEEDED)
    recorder.wait_for(
        lambda it: isinstance(it, EventObserved) and it.event["event"].endswith("succeeded")
    )

    emitted = [it.event["event"] for it in recorder.received if isinstance(it, EventObserved)]
    phases = ("pending", "running", "succeeded")
    assert emitted == [f"prefect.kubernetes.pod.{phase}" for phase in phases]
    assert own_end.attempt == job.attempt


def test_output_is_streamed_if_configured(
    own: KubernetesRuntime,
    recorder: UpdateRecorder,
    proxy: KubeProxy,
    kubelet: Kubelet,
    namespace: str,
) -> None:
    line = "2026-11-21T10:00:05.000000000Z hello"
    proxy.answer(200, method="WATCH", path="/log$", body=line, times=None)
    own.start(job_spec(namespace, "quiet"))
    loud = own.start(job_spec(namespace, "loud", limits=Limits(stream_output=True)))
    for attempt in ("quiet", "loud"):
        kubelet.running(kubelet.pod_of(f"job-{attempt}"))

    printed = recorder.wait_for(lambda it: isinstance(it, LinePrinted))
    assert printed == LinePrinted(loud.attempt, 'hello"')
    assert len(proxy.seen("WATCH", "/log$")) == 1


def test_log_is_that_of_the_newest_pod(
    own: KubernetesRuntime, proxy: KubeProxy, kubelet: Kubelet, namespace: str
) -> None:
    job = own.start(job_spec(namespace, manifest=RETRIED))
    assert own.tail_logs(job, 5) == []
    first = kubelet.pod_of(job.name)
    kubelet.failed(first)
    second = kubelet.pod_of(job.name, other_than=first)
    kubelet.running(second)
    proxy.answer(200, path=f"{second}/log$", body="of the second", times=None)
    proxy.answer(200, path=f"{first}/log$", body="of the first", times=None)

    assert own.tail_logs(job, 5) == ['"of the second"']


RETRIED = {"spec": {"backoffLimit": 1, "template": {"spec": POD}}}


def admit(plane: Cluster, of: str, into: str) -> None:
    """Grant the accounts of one namespace a worker's rights in another one."""
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{into}"
    meta = {"metadata": {"name": "worker"}}
    plane.request("POST", f"{roles}/roles", meta | {"rules": rules(*JOBS, *SECRETS, *EVENTS)})
    subject = {"kind": "Group", "name": f"system:serviceaccounts:{of}"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "worker"}
    plane.request("POST", f"{roles}/rolebindings", meta | {"roleRef": role, "subjects": [subject]})
