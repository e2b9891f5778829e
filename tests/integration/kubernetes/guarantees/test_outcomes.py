"""Guarantees 11, 12 and 13: the end of a Job is detected and reported to the server."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, WorkerProcess

LOST = "exited without reporting"


def crashed_once(bench: WorkerHarness, run: str, reason: str) -> None:
    """The run becomes CRASHED once, for this reason."""
    state = bench.await_state(run, "CRASHED")
    assert reason in state["message"]
    assert bench.types(run).count("CRASHED") == 1


def was_read(bench: WorkerHarness) -> bool:
    """Whether a worker has read which runs are active."""
    return any(each.status == 200 for each in bench.proxy.seen("POST", "/flow_runs/filter$"))


def try_again(bench: WorkerHarness, run: str, *, hours: float) -> None:
    """Report as the flow's process does before it exits with 0, when the run has retries left."""
    when = datetime.now(UTC) + timedelta(hours=hours)
    details = {"scheduled_time": when.isoformat(), "transition_id": str(uuid.uuid4())}
    state = {"type": "SCHEDULED", "name": "AwaitingRetry", "state_details": details}
    bench.api.call("POST", f"/flow_runs/{run}/set_state", {"state": state, "force": True})


class TestCrashDetectionFromConditions:
    """Guarantee 11."""

    def test_deadline_with_tries_left(self, bench: WorkerHarness) -> None:
        """The pods show that one of four tries failed; only the Job shows that no other follows."""
        run = bench.run(job_variables={"backoff_limit": 3})
        with bench.worker() as worker:
            pod = bench.begin(run)
            worker.await_entry("job.running", run=run)
            bench.kubelet.failed(pod)
            worker.await_entry("job.start_delayed", run=run)
            assert bench.types(run) == ["SCHEDULED", "PENDING", "RUNNING"]
            job = f"/apis/batch/v1/namespaces/{bench.namespace}/jobs/{bench.await_job(run)}"
            bench.kube.request("PATCH", job, {"spec": {"activeDeadlineSeconds": 1}})
            crashed_once(bench, run, "ran longer than its deadline")
        assert bench.kube.request("GET", job)["status"]["failed"] <= 2


class TestExit0WithoutAFinalStateIsResolved:
    """Guarantee 12."""

    def test_only_runs_that_their_job_left_unfinished(self, bench: WorkerHarness) -> None:
        running, pending, later, paused, again = (bench.run() for _ in range(5))
        with bench.worker() as worker:
            pods = {run: bench.begin(run) for run in (running, later, paused, again)}
            try_again(bench, later, hours=1)
            bench.report(paused, "PAUSED", "Suspended", force=True)
            try_again(bench, again, hours=0)
            until(lambda: len(bench.jobs(again)) == 2, bench.worker_output)
            for run in (later, paused, again):
                bench.kubelet.succeeded(pods[run])
                worker.await_entry("job.succeeded", run=run)
            pods[pending] = bench.await_pod(pending)
            bench.kubelet.running(pods[pending])
            for run in (running, pending):
                bench.kubelet.succeeded(pods[run])
            for run in (running, pending):
                crashed_once(bench, run, LOST)
            assert bench.types(later)[-1] == "SCHEDULED"
            assert bench.types(paused)[-1] == "PAUSED"
            assert bench.types(again)[-3:] == ["RUNNING", "SCHEDULED", "PENDING"]


class TestAnApiOutageDuringFailureIsRetried:
    """Guarantee 13."""

    def fail_in_an_outage(self, bench: WorkerHarness, worker: WorkerProcess) -> str:
        """A run whose Job fails while the server answers every request with 500."""
        run = bench.run()
        pod = bench.begin(run)
        worker.await_entry("job.running", run=run)
        until(lambda: was_read(bench), bench.worker_output)
        bench.proxy.answer(500, times=None)
        bench.kubelet.failed(pod)
        until(lambda: len(bench.proxy.seen("GET", f"{run}$")) > 2, bench.worker_output)
        return run

    def test_same_worker_reports(self, bench: WorkerHarness) -> None:
        with bench.worker() as worker:
            run = self.fail_in_an_outage(bench, worker)
            bench.proxy.clear()
            bench.proxy.drop_answer(500, method="POST", path=f"{run}/set_state$", times=2)
            crashed_once(bench, run, "The job failed")
            worker.await_entry("run.crashed", run=run)
            assert len(worker.entries("run.crashed", run=run)) == 1

    def test_next_worker_reports(self, bench: WorkerHarness) -> None:
        with bench.worker() as worker:
            run = self.fail_in_an_outage(bench, worker)
            worker.kill()
        bench.proxy.clear()
        with bench.worker():
            crashed_once(bench, run, "The job failed")
