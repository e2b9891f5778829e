"""One replica observes, by a Lease in a real Kubernetes API (19)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from deployctl.clients import kubeconfig
from deployctl.core.cancellation import CancellationToken
from deployctl.worker.runtimes.kubernetes.lease import LeaseLeadership
from deployctl.worker.runtimes.kubernetes.rbac import JOBS, LEASES
from tests.integration.kubernetes.conftest import MakeKubeProxy
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.proxy import KubeProxy
from tests.support.kubernetes_jobs import Notes, rules


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def proxy(control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy) -> KubeProxy:
    return kube_proxy(control_plane.account(rules(*LEASES), namespace))


@contextmanager
def replica(
    proxy: KubeProxy, name: str, clock: Clock, notes: Notes | None = None
) -> Iterator[LeaseLeadership]:
    kube = kubeconfig.connect(str(proxy.kubeconfig))
    try:
        yield LeaseLeadership(kube, "pool", name, notes or Notes(), clock, duration=10.0)
    finally:
        kube.close()


@pytest.fixture
def three(proxy: KubeProxy, clock: Clock) -> Iterator[list[LeaseLeadership]]:
    with ExitStack() as stack:
        yield [stack.enter_context(replica(proxy, name, clock)) for name in "abc"]


def leaders(replicas: list[LeaseLeadership]) -> list[str]:
    return [each.identity for each in replicas if each.is_leader]


def everyone(replicas: list[LeaseLeadership]) -> None:
    for each in replicas:
        each.step()


def test_one_of_many_leads_however_they_race(three: list[LeaseLeadership]) -> None:
    threads = [threading.Thread(target=each.step) for each in three]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(leaders(three)) == 1


def test_a_leader_that_renews_goes_on_leading(three: list[LeaseLeadership], clock: Clock) -> None:
    for clock.now in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0):
        everyone(three)
        assert leaders(three) == ["a"]


def test_another_takes_over_from_a_leader_that_is_gone_and_never_before_it_stops(
    three: list[LeaseLeadership], clock: Clock
) -> None:
    everyone(three)
    history = []
    for clock.now in (2.0, 4.0, 6.0, 7.9, 8.1, 9.9, 10.1, 12.0):
        everyone(three[1:])
        history.append("".join(leaders(three)))

    assert history == ["a", "a", "a", "a", "", "", "b", "b"]


def test_a_leader_that_ends_hands_over_at_once(three: list[LeaseLeadership]) -> None:
    everyone(three)
    assert leaders(three) == ["a"]
    stop = CancellationToken()
    stop.cancel()
    three[0].campaign(stop)
    three[1].step()

    assert leaders(three) == ["b"]


@pytest.mark.parametrize("status", [401, 409, 500, 503])
def test_a_leader_that_cannot_renew_stops_leading_in_time_and_leads_again(
    proxy: KubeProxy, clock: Clock, status: int
) -> None:
    with replica(proxy, "a", clock) as only:
        only.step()
        proxy.answer(status, times=None)
        clock.now = 7.9
        only.step()
        assert leaders([only]) == ["a"]
        clock.now = 8.1
        only.step()
        assert leaders([only]) == []
        proxy.clear()
        only.step()
        assert leaders([only]) == ["a"]


def test_without_the_right_to_leases_all_lead_and_one_warning_says_so(
    control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy, clock: Clock
) -> None:
    proxy, notes = kube_proxy(control_plane.account(rules(*JOBS), namespace)), Notes()
    with replica(proxy, "a", clock, notes) as one, replica(proxy, "b", clock) as two:
        everyone([one, two])
        clock.now = 100.0
        everyone([one, two])
        assert leaders([one, two]) == ["a", "b"]
    assert notes.warnings == ["lease.forbidden"]


def test_without_the_namespace_of_the_worker_somebody_leads_all_the_same(
    control_plane: Cluster, clock: Clock, tmp_path: Path
) -> None:
    """A kubeconfig may name a namespace that is not there, while jobs are in others."""
    notes = Notes()
    nowhere = control_plane.admin.write_kubeconfig(tmp_path / "nowhere", "nowhere")
    kube = kubeconfig.connect(str(nowhere))
    try:
        only = LeaseLeadership(kube, "pool", "a", notes, clock)
        only.step()
        assert only.is_leader
    finally:
        kube.close()
    assert notes.warnings == ["lease.forbidden"]


def test_a_campaign_without_rights_ends_in_silence(
    control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy, clock: Clock
) -> None:
    proxy, stop = kube_proxy(control_plane.account(rules(*JOBS), namespace)), CancellationToken()
    stop.cancel()
    with replica(proxy, "a", clock) as one:
        one.step()
        one.campaign(stop)
    assert all(exchange.method == "GET" for exchange in proxy.exchanges)
