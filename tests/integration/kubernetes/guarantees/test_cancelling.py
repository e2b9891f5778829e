"""Guarantee 15: a cancelled run ends with its Job, in every phase."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.fast_timings import fast_timings
from tests.support.waiting import TIMEOUT, until
from tests.support.worker_harness import WorkerHarness

IGNORES_CANCELLATION = {"command": "python -m prefect.engine"}


@contextmanager
def no_quota_for_pods(harness: WorkerHarness) -> Iterator[None]:
    """The Jobs of the namespace get no pods."""
    path = f"/api/v1/namespaces/{harness.namespace}/resourcequotas"
    body = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    harness.kube.request("POST", path, body)
    until(lambda: harness.kube.request("GET", f"{path}/none").get("status"), lambda: "no quota")
    try:
        yield
    finally:
        harness.kube.request("DELETE", f"{path}/none")


def submitted(harness: WorkerHarness, run: str) -> None:
    """Wait until the run's Job exists and the server knows it."""
    harness.await_job(run)
    until(lambda: harness.read(run)["infrastructure_pid"], harness.worker_output)


def pulls(harness: WorkerHarness, run: str) -> None:
    """Let the node pull the image."""
    submitted(harness, run)
    harness.kubelet.waiting(harness.await_pod(run), "ContainerCreating")


def begins(harness: WorkerHarness, run: str) -> None:
    """Let the flow run."""
    submitted(harness, run)
    harness.begin(run)


def cancelled_without_job(harness: WorkerHarness, run: str) -> None:
    """The Job is deleted, and only then the run is CANCELLED."""
    harness.await_no_job(run)
    harness.await_state(run, "CANCELLED")
    assert harness.types(run)[-2:] == ["CANCELLING", "CANCELLED"]


class TestCancelWorksInEveryPhase:
    """Guarantee 15."""

    def test_job_without_pod(self, harness: WorkerHarness) -> None:
        run = harness.run()
        with no_quota_for_pods(harness), harness.worker():
            submitted(harness, run)
            harness.report(run, "CANCELLING")
            cancelled_without_job(harness, run)

    @pytest.mark.parametrize("advance", [pulls, begins])
    def test_job_that_cannot_cancel_itself(
        self, harness: WorkerHarness, advance: Callable[[WorkerHarness, str], None]
    ) -> None:
        """A Job that pulls, or whose engine hangs; and one that was CANCELLED by force."""
        run, forced = harness.run(), harness.run()
        with harness.worker():
            for each in (run, forced):
                advance(harness, each)
            harness.report(run, "CANCELLING")
            harness.report(forced, "CANCELLED", force=True)
            cancelled_without_job(harness, run)
            harness.await_no_job(forced)
            assert harness.types(forced)[-1] == "CANCELLED"

    def test_running_flow_with_and_without_cancellation_support(
        self, harness: WorkerHarness
    ) -> None:
        cooperative, stubborn = harness.run(), harness.run(job_variables=IGNORES_CANCELLATION)
        with harness.worker(timings=fast_timings(cancel_grace=TIMEOUT)) as worker:
            for run in (cooperative, stubborn):
                begins(harness, run)
                harness.report(run, "CANCELLING")
            harness.report(cooperative, "CANCELLED")
            harness.kubelet.succeeded(harness.await_pod(cooperative))
            worker.await_entry("job.succeeded", run=cooperative)
            cancelled_without_job(harness, stubborn)
            assert harness.jobs(cooperative)
            assert harness.types(cooperative)[-2:] == ["CANCELLING", "CANCELLED"]
