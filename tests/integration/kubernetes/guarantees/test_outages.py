"""Guarantee 25: permanent refusals fail at once, temporary ones are retried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness

JOBS = "/jobs$"


def forbid(bench: WorkerHarness) -> None:
    """Create a quota that allows no further Job."""
    quota = {
        "metadata": {"name": "full"},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    path = f"/api/v1/namespaces/{bench.namespace}/resourcequotas"
    bench.kube.request("POST", path, quota)
    until(lambda: bench.kube.request("GET", f"{path}/full").get("status", {}).get("hard"), str)


def no_namespace(bench: WorkerHarness) -> dict[str, Any]:
    return {"namespace": f"{bench.namespace}-nope"}


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
        bench: WorkerHarness,
        variables: Callable[[WorkerHarness], dict[str, Any]],
        reason: str,
    ) -> None:
        run = bench.run(bench.deployment("bad", job_variables=variables(bench)))
        with bench.worker() as worker:
            state = bench.await_state(run, "CRASHED")
            assert reason in state["message"]
            until(lambda: reason in bench.log(run), bench.worker_output)
            assert not worker.entries("run.start_failed")
            bench.finish(bench.run())
        assert bench.types(run) == ["SCHEDULED", "PENDING", "CRASHED"]
        assert len(bench.kube_proxy.seen("POST", JOBS)) == 2

    def test_exhausted_quota(self, bench: WorkerHarness) -> None:
        forbid(bench)
        run = bench.run()
        with bench.worker():
            state = bench.await_state(run, "CRASHED")
        assert "quota" in state["message"]
        assert len(bench.kube_proxy.seen("POST", JOBS)) == 1


class TestWhatMayPassIsWaitedFor:
    """The claim is kept: the run starts in the same attempt when the cluster is back."""

    @pytest.mark.parametrize("status", [0, 429, 500, 503])
    def test_cluster_is_down_at_submit(self, bench: WorkerHarness, status: int) -> None:
        if status:
            bench.kube_proxy.answer(status, method="POST", path=JOBS, times=None)
        else:
            bench.kube_proxy.refuse(method="POST", path=JOBS, times=None)
        run = bench.run()
        with bench.worker() as worker:
            until(lambda: len(worker.entries("run.start_failed", run=run)) > 1, bench.worker_output)
            assert not bench.jobs()
            assert worker.is_alive
            bench.kube_proxy.clear()
            bench.finish(run)
        assert bench.types(run) == ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]

    def test_cluster_is_down_at_startup(self, bench: WorkerHarness) -> None:
        bench.kube_proxy.stop_after(0)
        run = bench.run()
        with bench.worker() as worker:
            worker.await_entry("worker.start_failed")
            assert worker.page("/health")[0] == 200
            assert worker.page("/ready")[0] == 503
            assert bench.types(run) == ["SCHEDULED"]
            bench.kube_proxy.clear()
            bench.finish(run)
            until(lambda: worker.page("/ready")[0] == 200, bench.worker_output)
