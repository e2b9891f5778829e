"""Guarantee 14: PENDING is bounded, and its cause is reported."""

from __future__ import annotations

from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness

NO_IMAGE = "ImagePullBackOff"
NO_CPU = "0/1 nodes are available: 1 Insufficient cpu."
DEFAULT_TIMEOUT = {"pod_watch_timeout_seconds": None}
"""Without a configured timeout the default applies, only to waits that need intervention."""


def start_timeout(seconds: float) -> dict[str, float]:
    """Job variables with a start timeout, which applies to every wait."""
    return {"pod_watch_timeout_seconds": seconds}


def is_ending(bench: WorkerHarness, run: str) -> bool:
    """Whether the run's Job is being deleted."""
    return any(job["metadata"].get("deletionTimestamp") for job in bench.jobs(run))


def crashed_without_job(bench: WorkerHarness, run: str) -> str:
    """The state message of a run that is CRASHED after its Job was deleted."""
    message: str = bench.await_state(run, "CRASHED")["message"]
    assert not bench.jobs(run)
    return message


class TestPendingIsBoundedAndExplained:
    """Guarantee 14."""

    def test_configured_start_timeout(self, bench: WorkerHarness) -> None:
        no_image, no_cpu = (bench.run(job_variables=start_timeout(10)) for _ in range(2))
        with bench.worker():
            pod = bench.await_pod(no_image)
            bench.kubelet.unschedulable(bench.await_pod(no_cpu), NO_CPU)
            bench.kubelet.waiting(pod, NO_IMAGE, 'Back-off pulling image "flow:1"')
            until(lambda: is_ending(bench, no_image), bench.worker_output)
            bench.finish(bench.run())
            assert bench.kubelet.get(pod)
            assert bench.types(no_image)[-1] == "PENDING"
            bench.await_no_job(no_image)
            message = crashed_without_job(bench, no_image)
            assert "did not start within 10 seconds" in message
            assert "image" in message
            assert bench.kubelet.get(pod) is None
            bench.await_no_job(no_cpu)
            assert "Insufficient cpu" in crashed_without_job(bench, no_cpu)

    def test_default_start_timeout(self, bench: WorkerHarness) -> None:
        no_cpu = bench.run(job_variables=DEFAULT_TIMEOUT)
        with bench.worker() as worker:
            pod = bench.await_pod(no_cpu)
            bench.kubelet.unschedulable(pod, NO_CPU)
            worker.await_entry("job.start_delayed", run=no_cpu)
            no_image = bench.run(job_variables=DEFAULT_TIMEOUT)
            bench.kubelet.waiting(bench.await_pod(no_image), NO_IMAGE)
            bench.await_no_job(no_image)
            crashed_without_job(bench, no_image)
            until(lambda: "Insufficient cpu" in bench.log(no_cpu), bench.worker_output)
            bench.finish(no_cpu)
            assert set(bench.types(no_cpu)) == {"SCHEDULED", "PENDING", "RUNNING", "COMPLETED"}

    def test_run_timeout(self, bench: WorkerHarness) -> None:
        run = bench.run(job_variables={"job_watch_timeout_seconds": 2})
        with bench.worker():
            pod = bench.await_pod(run)
            bench.report(run, "RUNNING")
            bench.kubelet.running(pod)
            bench.await_no_job(run)
            assert "ran longer than 2 seconds" in crashed_without_job(bench, run)
