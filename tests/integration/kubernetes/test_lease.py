"""Leader election by a Lease in a real Kubernetes API (guarantee 19)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from deployctl.clients import kubeconfig
from deployctl.core.cancellation import CancellationToken
from deployctl.jobs.rbac import JOBS, LEASES
from deployctl.worker.runtimes.kubernetes.lease import LeaseLeadership
from tests.integration.kubernetes.conftest import MakeKubeProxy
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.proxy import KubeProxy
from tests.support.kubernetes_jobs import RecordingEventLog, rules


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
    proxy: KubeProxy, name: str, clock: Clock, event_log: RecordingEventLog | None = None
) -> Iterator[LeaseLeadership]:
    kube = kubeconfig.connect(str(proxy.kubeconfig))
    try:
        yield LeaseLeadership(
            kube, "pool", name, event_log or RecordingEventLog(), clock, duration=10.0
        )
    finally:
        kube.close()


@pytest.fixture
def three(proxy: KubeProxy, clock: Clock) -> Iterator[list[LeaseLeadership]]:
    with ExitStack() as stack:
        yield [stack.enter_context(replica(proxy, name, clock)) for name in "abc"]


def leaders(replicas: list[LeaseLeadership]) -> list[str]:
    return [each.identity for each in replicas if each.is_leader]


def step_all(replicas: list[LeaseLeadership]) -> None:
    for each in replicas:
        each.step()


def test_one_of_many_leads_in_a_race(three: list[LeaseLeadership]) -> None:
    threads = [threading.Thread(target=each.step) for each in three]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(leaders(three)) == 1


def test_renewing_leader_stays_leader(three: list[LeaseLeadership], clock: Clock) -> None:
    for clock.now in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0):
        step_all(three)
        assert leaders(three) == ["a"]


def test_lease_is_taken_over_only_after_the_leader_stopped_leading(
    three: list[LeaseLeadership], clock: Clock
) -> None:
    step_all(three)
    history = []
    for clock.now in (2.0, 4.0, 6.0, 7.9, 8.1, 9.9, 10.1, 12.0):
        step_all(three[1:])
        history.append("".join(leaders(three)))

    assert history == ["a", "a", "a", "a", "", "", "b", "b"]


def test_successor_checks_when_the_lease_runs_out(
    three: list[LeaseLeadership], clock: Clock
) -> None:
    leader, follower = three[:2]
    assert leader.pause() <= 0.25 * leader.duration
    leader.step()
    follower.step()
    clock.now = 8.5
    follower.step()
    clock.now += follower.pause()
    follower.step()
    assert (clock.now, leaders([follower])) == (10.0, ["b"])
    clock.now += 100.0
    assert follower.pause() == 0.25 * follower.duration


@pytest.mark.parametrize(("holder", "taken"), [("a 1", True), ("b 1", False), ("a", False)])
def test_worker_takes_the_lease_of_its_predecessor_at_once(
    proxy: KubeProxy, clock: Clock, holder: str, taken: bool
) -> None:
    with replica(proxy, holder, clock) as before, replica(proxy, "a 2", clock) as after:
        before.step()
        after.step()
        assert after.is_leader is taken
        before.step()
        assert leaders([before, after]) == ["a 2" if taken else holder]


def test_leader_releases_the_lease_at_shutdown(three: list[LeaseLeadership]) -> None:
    step_all(three)
    assert leaders(three) == ["a"]
    stop = CancellationToken()
    stop.cancel()
    three[0].campaign(stop)
    three[1].step()

    assert leaders(three) == ["b"]


@pytest.mark.parametrize("status", [401, 409, 500, 503])
def test_leader_that_cannot_renew_stops_leading_in_time(
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


def test_all_lead_with_one_warning_without_the_right_to_leases(
    control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy, clock: Clock
) -> None:
    proxy, event_log = (
        kube_proxy(control_plane.account(rules(*JOBS), namespace)),
        RecordingEventLog(),
    )
    with replica(proxy, "a", clock, event_log) as one, replica(proxy, "b", clock) as two:
        step_all([one, two])
        clock.now = 100.0
        step_all([one, two])
        assert leaders([one, two]) == ["a", "b"]
    assert event_log.warnings == ["lease.forbidden"]


def test_leads_if_the_namespace_does_not_exist(
    control_plane: Cluster, clock: Clock, tmp_path: Path
) -> None:
    """A kubeconfig may name a namespace that does not exist, while jobs are in others."""
    event_log = RecordingEventLog()
    nowhere = control_plane.admin.write_kubeconfig(tmp_path / "nowhere", "nowhere")
    kube = kubeconfig.connect(str(nowhere))
    try:
        only = LeaseLeadership(kube, "pool", "a", event_log, clock)
        only.step()
        assert only.is_leader
    finally:
        kube.close()
    assert event_log.warnings == ["lease.forbidden"]


def test_campaign_without_rights_writes_nothing(
    control_plane: Cluster, namespace: str, kube_proxy: MakeKubeProxy, clock: Clock
) -> None:
    proxy, stop = kube_proxy(control_plane.account(rules(*JOBS), namespace)), CancellationToken()
    stop.cancel()
    with replica(proxy, "a", clock) as one:
        one.step()
        one.campaign(stop)
    assert all(exchange.method == "GET" for exchange in proxy.exchanges)
