"""Guarantee 25: permanent refusals fail at once, temporary ones are retried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fast_timings import fast_timings
from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness

JOBS = "/jobs$"


def limit_jobs(harness: WorkerHarness, count: int) -> None:
    """Create a quota that allows so many Jobs."""
    quota = {
        "metadata": {"name": "full"},
        "spec": {"hard": {"count/jobs.batch": str(count)}},
    }
    path = f"/api/v1/namespaces/{harness.namespace}/resourcequotas"
    harness.kube.request("POST", path, quota)
    until(lambda: harness.kube.request("GET", f"{path}/full").get("status", {}).get("hard"), str)


def no_namespace(harness: WorkerHarness) -> dict[str, Any]:
    return {"namespace": f"{harness.namespace}-nope"}


def bad_manifest(_: WorkerHarness) -> dict[str, Any]:
    return {"service_account_name": "not a name!"}


class TestWhatIsRefusedForGoodFailsFast:
    @pytest.mark.parametrize(
        ("variables", "reason"),
        [
            (no_namespace, "there is no namespace"),
            (bad_manifest, "serviceAccountName"),
        ],
    )
    def test_job_that_the_cluster_never_accepts(
        self,
        harness: WorkerHarness,
        variables: Callable[[WorkerHarness], dict[str, Any]],
        reason: str,
    ) -> None:
        run = harness.run(harness.deployment("bad", job_variables=variables(harness)))
        with harness.worker() as worker:
            state = harness.await_state(run, "CRASHED")
            assert reason in state["message"]
            until(lambda: reason in harness.log(run), harness.worker_output)
            assert not worker.entries("run.start_failed")
            harness.finish(harness.run())
        assert harness.types(run) == ["SCHEDULED", "PENDING", "CRASHED"]
        assert len(harness.kube_proxy.seen("POST", JOBS)) == 2

    def test_quota_without_any_room(self, harness: WorkerHarness) -> None:
        limit_jobs(harness, 0)
        run = harness.run()
        with harness.worker():
            state = harness.await_state(run, "CRASHED")
        assert "quota" in state["message"]
        assert len(harness.kube_proxy.seen("POST", JOBS)) == 1


class TestWhatMayPassIsWaitedFor:
    """The claim is kept: the run starts in the same attempt when the cluster is back."""

    @pytest.mark.parametrize("status", [0, 429, 500, 503])
    def test_cluster_is_down_at_submit(self, harness: WorkerHarness, status: int) -> None:
        if status:
            harness.kube_proxy.answer(status, method="POST", path=JOBS, times=None)
        else:
            harness.kube_proxy.refuse(method="POST", path=JOBS, times=None)
        run = harness.run()
        with harness.worker() as worker:
            until(
                lambda: len(worker.entries("run.start_failed", run=run)) > 1, harness.worker_output
            )
            assert not harness.jobs()
            assert worker.is_alive
            harness.kube_proxy.clear()
            harness.finish(run)
        assert harness.types(run) == ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]

    def test_full_quota(self, harness: WorkerHarness) -> None:
        limit_jobs(harness, 1)
        first = harness.run()
        with harness.worker() as worker:
            job = harness.await_job(first)
            run = harness.run()
            worker.await_entry("run.start_failed", run=run)
            until(lambda: "is used up" in harness.log(run), harness.worker_output)
            harness.finish(first)
            harness.await_state(first, "COMPLETED")
            harness.kube.request(
                "DELETE", f"{harness.jobs_path}/{job}?propagationPolicy=Background"
            )
            harness.finish(run)
        assert harness.types(run) == ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]

    def test_right_that_is_missing_for_a_moment(self, harness: WorkerHarness) -> None:
        """A chart that is applied again replaces the worker's Role."""
        harness.kube_proxy.answer(403, method="POST", path=JOBS, times=2)
        run = harness.run()
        timings = fast_timings(forbidden_grace=600.0)
        with harness.worker(timings=timings) as worker:
            worker.await_entry("run.start_failed", run=run)
            harness.finish(run)
        assert harness.types(run) == ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]

    def test_right_that_stays_missing_ends_the_run(self, harness: WorkerHarness) -> None:
        harness.kube_proxy.answer(403, method="POST", path=JOBS, times=None)
        run = harness.run()
        with harness.worker() as worker:
            harness.await_state(run, "CRASHED")
            assert worker.entries("run.start_failed", run=run)

    def test_cluster_is_down_at_startup(self, harness: WorkerHarness) -> None:
        harness.kube_proxy.stop_after(0)
        run = harness.run()
        with harness.worker() as worker:
            worker.await_entry("worker.start_failed")
            assert worker.page("/health")[0] == 200
            assert worker.page("/ready")[0] == 503
            assert harness.types(run) == ["SCHEDULED"]
            harness.kube_proxy.clear()
            harness.finish(run)
            until(lambda: worker.page("/ready")[0] == 200, harness.worker_output)
