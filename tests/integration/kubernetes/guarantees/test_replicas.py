"""Guarantee 19: replicas share the work of starting jobs, and one of them observes."""

from __future__ import annotations

from contextlib import ExitStack

from deployctl.jobs.rbac import JOBS
from deployctl.worker.timings import DEFAULT_TIMINGS
from tests.integration.kubernetes.conftest import MakeKubeProxy
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.proxy import KubeProxy
from tests.support.fast_timings import fast_timings
from tests.support.kubernetes_jobs import rules
from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, WorkerProcess

LASTING = fast_timings(lease_duration=12.0)
"""No leader is so slow that it loses its lease."""
POD_EVENT = "prefect.kubernetes.pod."


def pod_events(harness: WorkerHarness) -> list[str]:
    """The ids of all events of pods that were sent, as often as they were."""
    sent = [event for each in harness.proxy.seen("POST", "/events$") for event in each.body]
    return [event["id"] for event in sent if event["event"].startswith(POD_EVENT)]


def leaders(workers: list[WorkerProcess]) -> list[WorkerProcess]:
    """Those that have led at some time."""
    return [worker for worker in workers if worker.entries("lease.acquired")]


def crashed_by(workers: list[WorkerProcess], run: str) -> list[WorkerProcess]:
    """Those that say that they reported the end of the run."""
    return [worker for worker in workers if worker.entries("run.crashed", run=run)]


def crashes(harness: WorkerHarness, run: str) -> None:
    """The job of the run fails."""
    harness.kubelet.failed(harness.begin(run))
    harness.await_state(run, "CRASHED")


def was_told_once(harness: WorkerHarness, run: str) -> None:
    """The run's states and its log say once how it ended."""
    message = harness.read(run)["state"]["message"]
    until(lambda: message in harness.log(run), harness.worker_output)
    assert harness.log(run).count(message) == 1
    assert harness.types(run) == ["SCHEDULED", "PENDING", "RUNNING", "CRASHED"]


class TestReplicasDoNotMultiplyLoad:
    """Guarantee 19."""

    def test_one_of_three_observes_until_it_dies(self, harness: WorkerHarness) -> None:
        with ExitStack() as stack:
            workers = [
                stack.enter_context(harness.worker("--name", name, timings=LASTING))
                for name in "abc"
            ]
            for worker in workers:
                worker.await_entry("worker.started")
            [leader] = until(lambda: leaders(workers), harness.worker_output)
            run, orphan = harness.run(), harness.run()
            crashes(harness, run)
            was_told_once(harness, run)
            pod = harness.begin(orphan)
            leader.kill()
            harness.kubelet.failed(pod)
            harness.await_state(orphan, "CRASHED")
            was_told_once(harness, orphan)
            assert crashed_by(workers, run) == [leader]
            [successor] = crashed_by(workers, orphan)
            assert successor is not leader
            assert len(leaders(workers)) == 2
            assert len(harness.jobs()) == 2
            sent = pod_events(harness)
            assert len(sent) == len(set(sent))
            assert bool(sent) is (harness.major >= 3)

    def test_all_replicas_observe_without_rights_on_leases(
        self, harness: WorkerHarness, control_plane: Cluster, kube_proxy: MakeKubeProxy
    ) -> None:
        """With nothing but the Role of the official chart."""
        account = control_plane.account(rules(*JOBS), harness.namespace)
        config = str(kube_proxy(account).kubeconfig)
        with ExitStack() as stack:
            workers = [
                stack.enter_context(harness.worker("--name", name, KUBECONFIG=config))
                for name in "ab"
            ]
            for worker in workers:
                worker.await_entry("lease.forbidden")
            runs = [harness.run() for _ in range(4)]
            for run in runs:
                crashes(harness, run)
            for run in runs:
                was_told_once(harness, run)
            assert len(harness.jobs()) == len(runs)
            assert all(len(worker.entries("lease.forbidden")) == 1 for worker in workers)


def production_worker(harness: WorkerHarness, proxy: KubeProxy, *args: str) -> WorkerProcess:
    """A worker with the timings of production, except how often it polls."""
    return harness.worker(
        *args,
        timings=DEFAULT_TIMINGS,
        KUBECONFIG=str(proxy.kubeconfig),
        PREFECT_WORKER_HEARTBEAT_SECONDS="30",
        PREFECT_WORKER_CANCELLATION_POLL_SECONDS="10",
    )


class TestClaimsOfAWorkerThatDied:
    """Guarantee 3: they get their Jobs from another replica, or from the next process of the name.

    The other replica takes runs of another queue only, so that it does not claim the run itself.
    """

    def claimed_without_a_job(
        self, harness: WorkerHarness, leader: WorkerProcess, blocked: KubeProxy
    ) -> str:
        """A run whose worker died between its claim and its Job; returns its id."""
        blocked.refuse(times=None, method="POST", path="/jobs$")
        run = harness.run()
        leader.await_entry("run.claimed", run=run)
        leader.kill()
        assert harness.jobs(run) == []
        return run

    def test_get_jobs_from_another_worker(
        self, harness: WorkerHarness, kube_proxy: MakeKubeProxy
    ) -> None:
        """With the timings of production, the dead worker having been the leader.

        The 20 seconds of guarantee 3 are these timings and what the requests take.
        """
        assert max(DEFAULT_TIMINGS.orphaned_after, DEFAULT_TIMINGS.lease_duration) <= 10
        harness.api.call("POST", f"/work_pools/{harness.pool}/queues", {"name": "other"})
        blocked = kube_proxy()
        first = production_worker(harness, blocked, "-n", "a")
        other = production_worker(harness, harness.kube_proxy, "-n", "b", "-q", "other")
        with first as leader:
            leader.await_entry("lease.acquired")
            with other as successor:
                successor.await_entry("worker.started")
                run = self.claimed_without_a_job(harness, leader, blocked)
                harness.await_job(run)
                successor.await_entry("run.submitted", run=run)

    def test_get_jobs_at_once_from_a_worker_of_the_same_name(
        self, harness: WorkerHarness, kube_proxy: MakeKubeProxy
    ) -> None:
        harness.api.call("POST", f"/work_pools/{harness.pool}/queues", {"name": "other"})
        timings, blocked = fast_timings(orphaned_after=1e9, lease_duration=600.0), kube_proxy()
        config = str(blocked.kubeconfig)
        with harness.worker("-n", "b", "-q", "other", timings=timings) as leader:
            leader.await_entry("lease.acquired")
            with harness.worker("-n", "a", timings=timings, KUBECONFIG=config) as worker:
                run = self.claimed_without_a_job(harness, worker, blocked)
            with harness.worker("-n", "a", timings=timings) as again:
                harness.finish(run)
                harness.await_state(run, "COMPLETED")
                assert len(again.entries("run.submitted", run=run)) == 1
                assert not again.entries("run.claimed")
        assert len(harness.jobs(run)) == 1
