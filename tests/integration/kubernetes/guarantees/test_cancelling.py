"""Guarantee 15: a run that is cancelled ends, and so does its job, however far they have come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.fast_timings import FastTimings
from tests.support.waiting import PATIENCE, until
from tests.support.worker_harness import WorkerHarness

DEAF = {"command": "python -m prefect.engine"}


@contextmanager
def no_room_for_pods(bench: WorkerHarness) -> Iterator[None]:
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
    """The run's Job is there, and the server knows of it."""
    bench.await_job(run)
    until(lambda: bench.read(run)["infrastructure_pid"], bench.workers_said)


def pulls(bench: WorkerHarness, run: str) -> None:
    """The node pulls the image."""
    submitted(bench, run)
    bench.kubelet.waiting(bench.await_pod(run), "ContainerCreating")


def begins(bench: WorkerHarness, run: str) -> None:
    """The flow runs."""
    submitted(bench, run)
    bench.begin(run)


def cancelled_without_job(bench: WorkerHarness, run: str) -> None:
    """The run is CANCELLED, its Job is gone, and was gone before that was said."""
    bench.await_no_job(run)
    bench.await_state(run, "CANCELLED")
    assert bench.types(run)[-2:] == ["CANCELLING", "CANCELLED"]


class TestCancelWorksInEveryPhase:
    """Guarantee 15."""

    def test_before_there_is_a_pod(self, bench: WorkerHarness) -> None:
        run = bench.run()
        with no_room_for_pods(bench), bench.worker():
            submitted(bench, run)
            bench.report(run, "CANCELLING")
            cancelled_without_job(bench, run)

    @pytest.mark.parametrize("comes_to", [pulls, begins])
    def test_with_nobody_who_hears(
        self, bench: WorkerHarness, comes_to: Callable[[WorkerHarness, str], None]
    ) -> None:
        """A job that pulls, or whose engine hangs; beside it, one that was CANCELLED by force."""
        run, forced = bench.run(), bench.run()
        with bench.worker():
            for each in (run, forced):
                comes_to(bench, each)
            bench.report(run, "CANCELLING")
            bench.report(forced, "CANCELLED", force=True)
            cancelled_without_job(bench, run)
            bench.await_no_job(forced)
            assert bench.types(forced)[-1] == "CANCELLED"

    def test_while_the_flow_hears_it_or_cannot(self, bench: WorkerHarness) -> None:
        hears, deaf = bench.run(), bench.run(job_variables=DEAF)
        with bench.worker(hurry=FastTimings(cancel_grace=PATIENCE)) as worker:
            for run in (hears, deaf):
                begins(bench, run)
                bench.report(run, "CANCELLING")
            bench.report(hears, "CANCELLED")
            bench.kubelet.succeeded(bench.await_pod(hears))
            worker.await_told("job.succeeded", run=hears)
            cancelled_without_job(bench, deaf)
            assert bench.jobs(hears)
            assert bench.types(hears)[-2:] == ["CANCELLING", "CANCELLED"]
