"""Guarantee 15: a cancelled run ends with its Job, in every phase."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.fast_timings import fast_timings
from tests.support.waiting import PATIENCE, until
from tests.support.worker_harness import WorkerHarness

IGNORES_CANCELLATION = {"command": "python -m prefect.engine"}


@contextmanager
def no_quota_for_pods(bench: WorkerHarness) -> Iterator[None]:
    """The Jobs of the namespace get no pods."""
    path = f"/api/v1/namespaces/{bench.namespace}/resourcequotas"
    body = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    bench.kube.request("POST", path, body)
    until(lambda: bench.kube.request("GET", f"{path}/none").get("status"), lambda: "no quota")
    try:
        yield
    finally:
        bench.kube.request("DELETE", f"{path}/none")


def submitted(bench: WorkerHarness, run: str) -> None:
    """Wait until the run's Job exists and the server knows it."""
    bench.await_job(run)
    until(lambda: bench.read(run)["infrastructure_pid"], bench.worker_output)


def pulls(bench: WorkerHarness, run: str) -> None:
    """Let the node pull the image."""
    submitted(bench, run)
    bench.kubelet.waiting(bench.await_pod(run), "ContainerCreating")


def begins(bench: WorkerHarness, run: str) -> None:
    """Let the flow run."""
    submitted(bench, run)
    bench.begin(run)


def cancelled_without_job(bench: WorkerHarness, run: str) -> None:
    """The Job is deleted, and only then the run is CANCELLED."""
    bench.await_no_job(run)
    bench.await_state(run, "CANCELLED")
    assert bench.types(run)[-2:] == ["CANCELLING", "CANCELLED"]


class TestCancelWorksInEveryPhase:
    """Guarantee 15."""

    def test_job_without_pod(self, bench: WorkerHarness) -> None:
        run = bench.run()
        with no_quota_for_pods(bench), bench.worker():
            submitted(bench, run)
            bench.report(run, "CANCELLING")
            cancelled_without_job(bench, run)

    @pytest.mark.parametrize("advance", [pulls, begins])
    def test_job_that_cannot_cancel_itself(
        self, bench: WorkerHarness, advance: Callable[[WorkerHarness, str], None]
    ) -> None:
        """A Job that pulls, or whose engine hangs; and one that was CANCELLED by force."""
        run, forced = bench.run(), bench.run()
        with bench.worker():
            for each in (run, forced):
                advance(bench, each)
            bench.report(run, "CANCELLING")
            bench.report(forced, "CANCELLED", force=True)
            cancelled_without_job(bench, run)
            bench.await_no_job(forced)
            assert bench.types(forced)[-1] == "CANCELLED"

    def test_running_flow_with_and_without_cancellation_support(self, bench: WorkerHarness) -> None:
        cooperative, stubborn = bench.run(), bench.run(job_variables=IGNORES_CANCELLATION)
        with bench.worker(timings=fast_timings(cancel_grace=PATIENCE)) as worker:
            for run in (cooperative, stubborn):
                begins(bench, run)
                bench.report(run, "CANCELLING")
            bench.report(cooperative, "CANCELLED")
            bench.kubelet.succeeded(bench.await_pod(cooperative))
            worker.await_entry("job.succeeded", run=cooperative)
            cancelled_without_job(bench, stubborn)
            assert bench.jobs(cooperative)
            assert bench.types(cooperative)[-2:] == ["CANCELLING", "CANCELLED"]
