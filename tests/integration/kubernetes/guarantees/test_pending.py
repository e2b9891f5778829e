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


def is_ending(harness: WorkerHarness, run: str) -> bool:
    """Whether the run's Job is being deleted."""
    return any(job["metadata"].get("deletionTimestamp") for job in harness.jobs(run))


def crashed_without_job(harness: WorkerHarness, run: str) -> str:
    """The state message of a run that is CRASHED after its Job was deleted."""
    message: str = harness.await_state(run, "CRASHED")["message"]
    assert not harness.jobs(run)
    return message


class TestPendingIsBoundedAndExplained:
    """Guarantee 14."""

    def test_configured_start_timeout(self, harness: WorkerHarness) -> None:
        no_image, no_cpu = (harness.run(job_variables=start_timeout(10)) for _ in range(2))
        with harness.worker():
            pod = harness.await_pod(no_image)
            harness.kubelet.unschedulable(harness.await_pod(no_cpu), NO_CPU)
            harness.kubelet.waiting(pod, NO_IMAGE, 'Back-off pulling image "flow:1"')
            until(lambda: is_ending(harness, no_image), harness.worker_output)
            harness.finish(harness.run())
            assert harness.kubelet.get(pod)
            assert harness.types(no_image)[-1] == "PENDING"
            harness.await_no_job(no_image)
            message = crashed_without_job(harness, no_image)
            assert "did not start within 10 seconds" in message
            assert "image" in message
            assert harness.kubelet.get(pod) is None
            harness.await_no_job(no_cpu)
            assert "Insufficient cpu" in crashed_without_job(harness, no_cpu)

    def test_default_start_timeout(self, harness: WorkerHarness) -> None:
        no_cpu = harness.run(job_variables=DEFAULT_TIMEOUT)
        with harness.worker() as worker:
            pod = harness.await_pod(no_cpu)
            harness.kubelet.unschedulable(pod, NO_CPU)
            worker.await_entry("job.start_delayed", run=no_cpu)
            no_image = harness.run(job_variables=DEFAULT_TIMEOUT)
            harness.kubelet.waiting(harness.await_pod(no_image), NO_IMAGE)
            harness.await_no_job(no_image)
            crashed_without_job(harness, no_image)
            until(lambda: "Insufficient cpu" in harness.log(no_cpu), harness.worker_output)
            harness.finish(no_cpu)
            assert set(harness.types(no_cpu)) == {"SCHEDULED", "PENDING", "RUNNING", "COMPLETED"}

    def test_run_timeout(self, harness: WorkerHarness) -> None:
        run = harness.run(job_variables={"job_watch_timeout_seconds": 2})
        with harness.worker():
            pod = harness.await_pod(run)
            harness.report(run, "RUNNING")
            harness.kubelet.running(pod)
            harness.await_no_job(run)
            assert "ran longer than 2 seconds" in crashed_without_job(harness, run)
