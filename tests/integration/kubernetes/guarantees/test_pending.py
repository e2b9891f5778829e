"""Guarantee 14: a run is not PENDING for ever, and its owner reads why."""

from __future__ import annotations

from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness

NO_IMAGE = "ImagePullBackOff"
NO_ROOM = "0/1 nodes are available: 1 Insufficient cpu."
UNCHOSEN = {"pod_watch_timeout_seconds": None}
"""Nobody chose a time: the default holds, and only for waits that do not end by themselves."""


def chosen(seconds: float) -> dict[str, float]:
    """Job variables that give a job so long to start, whatever it waits for."""
    return {"pod_watch_timeout_seconds": seconds}


def is_ending(bench: WorkerHarness, run: str) -> bool:
    """Whether the deletion of the run's Job has begun."""
    return any(job["metadata"].get("deletionTimestamp") for job in bench.jobs(run))


def crashed_without_job(bench: WorkerHarness, run: str) -> str:
    """What stands in the state of the run, which is CRASHED and whose Job was gone before."""
    message: str = bench.await_state(run, "CRASHED")["message"]
    assert not bench.jobs(run)
    return message


class TestPendingIsBoundedAndExplained:
    """Guarantee 14."""

    def test_when_a_time_was_chosen(self, bench: WorkerHarness) -> None:
        no_image, no_room = (bench.run(job_variables=chosen(10)) for _ in range(2))
        with bench.worker():
            pod = bench.await_pod(no_image)
            bench.kubelet.unschedulable(bench.await_pod(no_room), NO_ROOM)
            bench.kubelet.waiting(pod, NO_IMAGE, 'Back-off pulling image "flow:1"')
            until(lambda: is_ending(bench, no_image), bench.workers_said)
            bench.finish(bench.run())
            assert bench.kubelet.get(pod)
            assert bench.types(no_image)[-1] == "PENDING"
            bench.await_no_job(no_image)
            told = crashed_without_job(bench, no_image)
            assert "did not start within 10 seconds" in told
            assert "image" in told
            assert bench.kubelet.get(pod) is None
            bench.await_no_job(no_room)
            assert "Insufficient cpu" in crashed_without_job(bench, no_room)

    def test_when_nobody_chose_a_time(self, bench: WorkerHarness) -> None:
        no_room = bench.run(job_variables=UNCHOSEN)
        with bench.worker() as worker:
            pod = bench.await_pod(no_room)
            bench.kubelet.unschedulable(pod, NO_ROOM)
            worker.await_told("job.start_delayed", run=no_room)
            no_image = bench.run(job_variables=UNCHOSEN)
            bench.kubelet.waiting(bench.await_pod(no_image), NO_IMAGE)
            bench.await_no_job(no_image)
            crashed_without_job(bench, no_image)
            until(lambda: "Insufficient cpu" in bench.log(no_room), bench.workers_said)
            bench.finish(no_room)
            assert set(bench.types(no_room)) == {"SCHEDULED", "PENDING", "RUNNING", "COMPLETED"}

    def test_and_so_is_running(self, bench: WorkerHarness) -> None:
        run = bench.run(job_variables={"job_watch_timeout_seconds": 2})
        with bench.worker():
            pod = bench.await_pod(run)
            bench.report(run, "RUNNING")
            bench.kubelet.running(pod)
            bench.await_no_job(run)
            assert "ran longer than 2 seconds" in crashed_without_job(bench, run)
