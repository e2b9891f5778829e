"""Guarantees 11, 12 and 13: the end of a Job is detected and reported to the server."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, WorkerProcess

LOST = "exited without reporting"


def crashed_once(harness: WorkerHarness, run: str, reason: str) -> None:
    """The run becomes CRASHED once, for this reason."""
    state = harness.await_state(run, "CRASHED")
    assert reason in state["message"]
    assert harness.types(run).count("CRASHED") == 1


def were_read(harness: WorkerHarness) -> bool:
    """Whether a worker has read all active runs: the last request of a reading came twice."""
    answered = [
        each
        for each in harness.proxy.seen("POST", "/flow_runs/filter$")
        if each.status == 200 and "start_time" in each.body["flow_runs"]
    ]
    return len(answered) > 1


def try_again(harness: WorkerHarness, run: str, *, hours: float) -> None:
    """Report as the flow's process does before it exits with 0, when the run has retries left."""
    when = datetime.now(UTC) + timedelta(hours=hours)
    details = {"scheduled_time": when.isoformat(), "transition_id": str(uuid.uuid4())}
    state = {"type": "SCHEDULED", "name": "AwaitingRetry", "state_details": details}
    harness.api.call("POST", f"/flow_runs/{run}/set_state", {"state": state, "force": True})


class TestCrashDetectionFromConditions:
    """Guarantee 11."""

    def test_deadline_with_tries_left(self, harness: WorkerHarness) -> None:
        """The pods show that one of four tries failed; only the Job shows that no other follows."""
        run = harness.run(job_variables={"backoff_limit": 3})
        with harness.worker() as worker:
            pod = harness.begin(run)
            worker.await_entry("job.running", run=run)
            harness.kubelet.failed(pod)
            worker.await_entry("job.start_delayed", run=run)
            assert harness.types(run) == ["SCHEDULED", "PENDING", "RUNNING"]
            job = f"/apis/batch/v1/namespaces/{harness.namespace}/jobs/{harness.await_job(run)}"
            harness.kube.request("PATCH", job, {"spec": {"activeDeadlineSeconds": 1}})
            crashed_once(harness, run, "ran longer than its deadline")
        assert harness.kube.request("GET", job)["status"]["failed"] <= 2


class TestExit0WithoutAFinalStateIsResolved:
    """Guarantee 12."""

    def test_only_runs_that_their_job_left_unfinished(self, harness: WorkerHarness) -> None:
        running, pending, later, paused, again = (harness.run() for _ in range(5))
        with harness.worker() as worker:
            pods = {run: harness.begin(run) for run in (running, later, paused, again)}
            try_again(harness, later, hours=1)
            suspended = {"pause_reschedule": True}
            harness.report(paused, "PAUSED", "Suspended", suspended, force=True)
            try_again(harness, again, hours=0)
            until(lambda: len(harness.jobs(again)) == 2, harness.worker_output)
            for run in (later, paused, again):
                harness.kubelet.succeeded(pods[run])
                worker.await_entry("job.succeeded", run=run)
            pods[pending] = harness.await_pod(pending)
            harness.kubelet.running(pods[pending])
            for run in (running, pending):
                harness.kubelet.succeeded(pods[run])
            for run in (running, pending):
                crashed_once(harness, run, LOST)
            assert harness.types(later)[-1] == "SCHEDULED"
            assert harness.types(paused)[-1] == "PAUSED"
            assert harness.types(again)[-3:] == ["RUNNING", "SCHEDULED", "PENDING"]


class TestAnApiOutageDuringFailureIsRetried:
    """Guarantee 13."""

    def fail_in_an_outage(self, harness: WorkerHarness, worker: WorkerProcess) -> str:
        """A run whose Job fails while the server answers every request with 500."""
        run = harness.run()
        pod = harness.begin(run)
        worker.await_entry("job.running", run=run)
        until(lambda: were_read(harness), harness.worker_output)
        harness.proxy.answer(500, times=None)
        harness.kubelet.failed(pod)
        until(lambda: len(harness.proxy.seen("GET", f"{run}$")) > 2, harness.worker_output)
        return run

    def test_same_worker_reports(self, harness: WorkerHarness) -> None:
        with harness.worker() as worker:
            run = self.fail_in_an_outage(harness, worker)
            harness.proxy.clear()
            harness.proxy.drop_answer(500, method="POST", path=f"{run}/set_state$", times=2)
            crashed_once(harness, run, "The job failed")
            worker.await_entry("run.crashed", run=run)
            assert len(worker.entries("run.crashed", run=run)) == 1

    def test_next_worker_reports(self, harness: WorkerHarness) -> None:
        with harness.worker() as worker:
            run = self.fail_in_an_outage(harness, worker)
            worker.kill()
        harness.proxy.clear()
        with harness.worker():
            crashed_once(harness, run, "The job failed")


class TestEachTryOfAPodIsItself:
    """Guarantees 1 and 11: with `backoff_limit`, a Job has a pod for each try.

    From 3.9.1 on, `prefect flow-run execute` fails if it cannot report a crash.
    """

    def test_second_pod_completes_the_run(self, harness: WorkerHarness) -> None:
        run = harness.run(job_variables={"backoff_limit": 1})
        with harness.worker() as worker:
            first = harness.begin(run)
            worker.await_entry("job.running", run=run)
            harness.kubelet.failed(first, 137)
            worker.await_entry("job.start_delayed", run=run)
            second = harness.kubelet.pod_of(harness.await_job(run), other_than=first)
            harness.kubelet.running(second)
            until(lambda: len(worker.entries("job.running", run=run)) == 2, harness.worker_output)
            harness.report(run, "RUNNING")
            harness.report(run, "COMPLETED")
            harness.kubelet.succeeded(second)
            worker.await_entry("job.succeeded", run=run)
            harness.finish(harness.run())
        assert harness.read(run)["state"]["type"] == "COMPLETED"
        assert "CRASHED" not in harness.types(run)
        assert len(harness.jobs(run)) == 1
        for event in ("run.submitted", "job.start_delayed", "job.succeeded"):
            assert len(worker.entries(event, run=run)) == 1
        assert harness.log(run).count("created job") == 1
        assert harness.log(run).count("SIGKILL") == 1
        patches = harness.proxy.seen("PATCH", f"/flow_runs/{run}$")
        assert len({each.body.get("infrastructure_pid") for each in patches}) == 1

    def test_run_that_has_ended_gets_no_second_pod(self, harness: WorkerHarness) -> None:
        run = harness.run(job_variables={"backoff_limit": 1})
        with harness.worker() as worker:
            pod = harness.begin(run)
            harness.report(run, "COMPLETED")
            harness.kubelet.failed(pod, 1)
            worker.await_entry("job.deleted", run=run)
            harness.await_no_job(run)
        assert harness.read(run)["state"]["type"] == "COMPLETED"
