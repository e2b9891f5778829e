"""What a Kubernetes runtime hears, whatever fails between it and a real API server (6, 18)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployctl.jobs.model import Limits
from deployctl.worker.model import (
    EventObserved,
    JobChanged,
    JobsListed,
    LinePrinted,
    Phase,
    RuntimeUpdate,
)
from deployctl.worker.runtimes.kubernetes import informer_manager
from deployctl.worker.runtimes.kubernetes.rbac import EVENTS, JOBS, SECRETS
from deployctl.worker.runtimes.kubernetes.runtime import KubernetesRuntime
from deployctl.worker.timings import Timings
from tests.integration.kubernetes.conftest import MakeKubeProxy
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.pods import Kubelet
from tests.support.cluster.proxy import KubeProxy, error
from tests.support.kubernetes_jobs import POD, Notes, described, quota, rules, runtime
from tests.support.runtime_news import Heard, watching
from tests.support.waiting import until

SILENCE = 5.0
WATCHES = ("/jobs$", "/pods$")


@pytest.fixture
def proxy(kube_proxy: MakeKubeProxy) -> KubeProxy:
    return kube_proxy()


@pytest.fixture
def own(proxy: KubeProxy, namespace: str) -> Iterator[KubernetesRuntime]:
    with runtime(proxy.kubeconfig, namespace) as made:
        yield made


@pytest.fixture
def heard(own: KubernetesRuntime, proxy: KubeProxy) -> Iterator[Heard]:
    with watching(own) as ear:
        for path in WATCHES:
            proxy.await_watch(path)
        assert ear.listed() == []
        yield ear


def fails(own: KubernetesRuntime, heard: Heard, kubelet: Kubelet, namespace: str) -> None:
    """A job that fails from now on is told, and why."""
    job = own.start(described(namespace, "later"))
    kubelet.failed(kubelet.pod_of(job.name), 137, "OOMKilled")

    def is_told(news: RuntimeUpdate) -> bool:
        told = news.jobs if isinstance(news, JobsListed) else (getattr(news, "job", None),)
        causes = [each.cause for each in told if each and each.phase is Phase.FAILED]
        return any(cause and cause.code == "OOMKilled" for cause in causes)

    heard.until(is_told)


def await_health(own: KubernetesRuntime, problem: str) -> None:
    """Waits until one of the watches has this problem, or none where it is ''."""

    def problems() -> list[str]:
        return [watch.problem for watch in own.watch_statuses()]

    until(
        lambda: any(problem in each for each in problems()) if problem else not any(problems()),
        problems,
    )


class TestNoWatchDiesInSilence:
    """Guarantee 6."""

    @pytest.mark.parametrize("code", [410, 500, 403])
    def test_an_error_frame(
        self,
        own: KubernetesRuntime,
        heard: Heard,
        proxy: KubeProxy,
        kubelet: Kubelet,
        namespace: str,
        code: int,
    ) -> None:
        lists = len(proxy.seen("GET", "s$"))
        assert proxy.say(error(code, "Because")) == 2
        heard.listed()
        until(lambda: len(proxy.seen("GET", "s$")) >= lists + 2, lambda: "it is not listed again")
        assert len(proxy.seen("GET", "s$")) == lists + 2
        fails(own, heard, kubelet, namespace)

    def test_a_line_that_is_cut_off(
        self,
        own: KubernetesRuntime,
        heard: Heard,
        proxy: KubeProxy,
        kubelet: Kubelet,
        namespace: str,
    ) -> None:
        proxy.cut()
        fails(own, heard, kubelet, namespace)

    def test_a_connection_that_is_half_open(
        self, proxy: KubeProxy, kubelet: Kubelet, namespace: str
    ) -> None:
        with (
            runtime(
                proxy.kubeconfig, namespace, timings=Timings(watch_idle_timeout=SILENCE)
            ) as own,
            watching(own) as heard,
        ):
            for path in WATCHES:
                proxy.await_watch(path)
            assert proxy.freeze() == 2
            fails(own, heard, kubelet, namespace)

    @pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
    def test_refusals_for_a_while(
        self,
        own: KubernetesRuntime,
        heard: Heard,
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
        fails(own, heard, kubelet, namespace)

    def test_connections_that_are_refused(
        self,
        own: KubernetesRuntime,
        heard: Heard,
        proxy: KubeProxy,
        kubelet: Kubelet,
        namespace: str,
    ) -> None:
        proxy.stop_after(len(proxy.exchanges))
        await_health(own, "no answer")
        proxy.clear()
        await_health(own, "")
        fails(own, heard, kubelet, namespace)

    def test_a_cluster_that_is_down_at_the_start(
        self, own: KubernetesRuntime, proxy: KubeProxy, kubelet: Kubelet, namespace: str
    ) -> None:
        proxy.stop_after(len(proxy.exchanges))
        with watching(own) as heard:
            await_health(own, "no answer")
            proxy.clear()
            heard.listed()
            fails(own, heard, kubelet, namespace)


def test_what_happened_between_two_watches_is_told(
    control_plane: Cluster,
    own: KubernetesRuntime,
    heard: Heard,
    proxy: KubeProxy,
    kube_proxy: MakeKubeProxy,
    namespace: str,
) -> None:
    job = own.start(described(namespace, "gone"))
    heard.until(lambda news: news == JobChanged(job))
    proxy.answer(500, path="s$", times=None)
    proxy.say(error(500, "InternalError"))
    await_health(own, "(500)")
    with runtime(kube_proxy().kubeconfig, namespace) as other:
        other.stop(job)
        there = other.start(described(namespace, "new"))
    Kubelet(control_plane.admin, namespace).remove_job(job.name)
    proxy.clear()

    assert heard.until(lambda news: news == JobsListed(namespace, (there,), 0.0))


def test_where_not_all_may_be_listed_every_namespace_with_jobs_is_watched(
    control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy
) -> None:
    with control_plane.namespace() as second:
        proxy = kube_proxy(control_plane.account(rules(*JOBS, *SECRETS), namespace))
        admit(control_plane, namespace, second)
        notes = Notes()
        with runtime(proxy.kubeconfig, namespace, notes=notes) as own, watching(own) as heard:
            assert heard.listed() == []
            own.start(described(namespace, "there", configuration={"namespace": second}))
            heard.until(lambda news: isinstance(news, JobsListed) and news.location == second)
            pod = Kubelet(control_plane.admin, second).pod_of("job-there")
            Kubelet(control_plane.admin, second).running(pod)
            heard.job(Phase.RUNNING)
            fails(own, heard, Kubelet(control_plane.admin, namespace), namespace)
            assert {watch.location for watch in own.watch_statuses()} == {namespace, second}
        assert notes.warnings.count("watch.narrowed") == 1


def test_the_namespaces_of_the_settings_are_watched_and_no_others(
    control_plane: Cluster, namespace: str, proxy: KubeProxy
) -> None:
    with control_plane.namespace() as second:
        settings = {"namespaces": (second,)}
        with (
            runtime(proxy.kubeconfig, namespace, settings=settings) as own,
            watching(own) as heard,
        ):
            assert heard.until(lambda news: isinstance(news, JobsListed)) == JobsListed(
                second, (), 0.0
            )
            for path in WATCHES:
                proxy.await_watch(path)
            watched = {exchange.path for exchange in proxy.seen("WATCH")}
    assert watched == {
        f"/apis/batch/v1/namespaces/{second}/jobs",
        f"/api/v1/namespaces/{second}/pods",
    }


def test_two_connections_carry_all_jobs_of_a_cluster(
    control_plane: Cluster,
    own: KubernetesRuntime,
    heard: Heard,
    proxy: KubeProxy,
    namespace: str,
) -> None:
    with control_plane.namespace() as second:
        for location in (namespace, second):
            for number in range(5):
                attempt = f"{location}-{number}"
                own.start(described(namespace, attempt, configuration={"namespace": location}))
                heard.job(Phase.WAITING)
        assert len(proxy.watches()) == 2
    assert len(proxy.seen("WATCH")) == 2


def test_jobs_of_other_pools_are_not_heard_of(
    own: KubernetesRuntime, heard: Heard, namespace: str
) -> None:
    own.start(described(namespace, "foreign", pool="another"))
    job = own.start(described(namespace, "own"))

    heard.until(lambda news: news == JobChanged(job))
    assert all("foreign" not in str(news) for news in heard.all)


def test_jobs_of_another_owner_are_not_heard_of(
    own: KubernetesRuntime, heard: Heard, namespace: str, proxy: KubeProxy
) -> None:
    """A worker in another namespace may serve the same pool: its jobs are no strays."""
    elsewhere = {"cluster_uid": "elsewhere"}
    with runtime(proxy.kubeconfig, namespace, settings=elsewhere) as other:
        other.start(described(namespace, "foreign"))
    job = own.start(described(namespace, "own"))

    heard.until(lambda news: news == JobChanged(job))
    assert all("foreign" not in str(news) for news in heard.all)


def test_a_job_that_gets_no_pod_is_explained(
    control_plane: Cluster,
    namespace: str,
    own: KubernetesRuntime,
    heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(informer_manager, "PUZZLED_AFTER", 0.0)
    monkeypatch.setattr(informer_manager, "ASK_AGAIN", 0.5)
    quota(control_plane, namespace, {"pods": "0"})
    own.start(described(namespace))

    news = heard.until(lambda it: isinstance(it, JobChanged) and it.job.cause is not None)
    assert isinstance(news, JobChanged)
    assert news.job.cause is not None
    assert news.job.cause.code == "Quota"


def test_without_the_right_to_events_a_job_is_heard_of_all_the_same(
    control_plane: Cluster,
    namespace: str,
    kube_proxy: MakeKubeProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(informer_manager, "PUZZLED_AFTER", 0.0)
    proxy = kube_proxy(control_plane.account(rules(*JOBS), namespace))
    notes = Notes()
    with runtime(proxy.kubeconfig, namespace, notes=notes) as own, watching(own) as heard:
        own.start(described(namespace, "first"))
        until(
            lambda: "events.forbidden" in [event for _, event, _ in notes.told],
            lambda: str(notes.told),
        )
        fails(own, heard, Kubelet(control_plane.admin, namespace), namespace)


def test_each_phase_of_a_pod_is_noticed_once(
    own: KubernetesRuntime, heard: Heard, kubelet: Kubelet, namespace: str
) -> None:
    job = own.start(described(namespace))
    pod = kubelet.pod_of(job.name)
    kubelet.running(pod)
    kubelet.succeeded(pod)
    own_end = heard.job(Phase.SUCCEEDED)
    heard.until(
        lambda it: isinstance(it, EventObserved) and it.event["event"].endswith("succeeded")
    )

    noticed = [it.event["event"] for it in heard.all if isinstance(it, EventObserved)]
    phases = ("pending", "running", "succeeded")
    assert noticed == [f"prefect.kubernetes.pod.{phase}" for phase in phases]
    assert own_end.attempt == job.attempt


def test_what_a_pod_prints_is_told_where_its_job_asks_for_it(
    own: KubernetesRuntime, heard: Heard, proxy: KubeProxy, kubelet: Kubelet, namespace: str
) -> None:
    line = "2026-11-21T10:00:05.000000000Z hello"
    proxy.answer(200, method="WATCH", path="/log$", body=line, times=None)
    own.start(described(namespace, "quiet"))
    loud = own.start(described(namespace, "loud", limits=Limits(stream_output=True)))
    for attempt in ("quiet", "loud"):
        kubelet.running(kubelet.pod_of(f"job-{attempt}"))

    told = heard.until(lambda it: isinstance(it, LinePrinted))
    assert told == LinePrinted(loud.attempt, 'hello"')
    assert len(proxy.seen("WATCH", "/log$")) == 1


def test_the_log_of_a_job_begins_with_the_pod_that_failed(
    own: KubernetesRuntime, proxy: KubeProxy, kubelet: Kubelet, namespace: str
) -> None:
    job = own.start(described(namespace, manifest=RETRIED))
    assert own.tail_logs(job, 5) == []
    first = kubelet.pod_of(job.name)
    kubelet.failed(first)
    second = kubelet.pod_of(job.name, other_than=first)
    kubelet.running(second)
    proxy.answer(200, path=f"{second}/log$", body="of the second", times=None)
    proxy.answer(200, path=f"{first}/log$", body="of the first", times=None)

    assert own.tail_logs(job, 5) == ['"of the first"']


RETRIED = {"spec": {"backoffLimit": 1, "template": {"spec": POD}}}


def admit(plane: Cluster, of: str, into: str) -> None:
    """Gives the accounts of one namespace a worker's rights in another."""
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{into}"
    meta = {"metadata": {"name": "worker"}}
    plane.request("POST", f"{roles}/roles", meta | {"rules": rules(*JOBS, *SECRETS, *EVENTS)})
    subject = {"kind": "Group", "name": f"system:serviceaccounts:{of}"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "worker"}
    plane.request("POST", f"{roles}/rolebindings", meta | {"roleRef": role, "subjects": [subject]})
