"""Guarantees 1, 2 and 3: a claim leads to exactly one Job, whatever fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, without_hand_backs

JOBS = "/jobs$"
CLAIM = "/set_state$"
PID = "/flow_runs/[^/]+$"
ONCE = ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]


def finished_once(harness: WorkerHarness, run: str) -> None:
    """Finish the run; it had one claim, one Job and one pod."""
    harness.finish(run)
    harness.await_state(run, "COMPLETED")
    assert without_hand_backs(harness.states(run))[0] == ONCE
    [job] = harness.jobs(run)
    assert len(harness.kubelet.pods(job["metadata"]["name"])) == 1


class TestExactlyOneJobPerAttempt:
    """Guarantee 1."""

    @pytest.mark.parametrize("status", [pytest.param(0, marks=pytest.mark.smoke), 500, 504])
    def test_answer_of_job_creation_is_lost(self, harness: WorkerHarness, status: int) -> None:
        harness.kube_proxy.drop_answer(status, method="POST", path=JOBS, times=2)
        run = harness.run()
        with harness.worker():
            finished_once(harness, run)
        assert len(harness.kube_proxy.seen("POST", JOBS)) >= 3

    def test_two_workers_race(self, harness: WorkerHarness) -> None:
        """The leader continues the claims of the other worker, whose requests are slow."""
        runs = [harness.run() for _ in range(4)]
        harness.kube_proxy.delay(3, method="POST", path=JOBS, times=2)
        with harness.worker("--name", "one"), harness.worker("--name", "two"):
            for run in runs:
                finished_once(harness, run)
        assert len(harness.jobs()) == len(runs)


class TestAClaimSurvivesLostAnswers:
    """Guarantee 2."""

    @pytest.mark.parametrize("status", [0, 500, 504])
    def test_server_commits_and_answer_is_lost(self, harness: WorkerHarness, status: int) -> None:
        harness.proxy.drop_answer(status, method="POST", path=CLAIM, times=3)
        run = harness.run()
        with harness.worker() as worker:
            finished_once(harness, run)
            assert len(worker.entries("run.submitted", run=run)) == 1
        claims = [each.body["state"] for each in harness.proxy.seen("POST", f"{run}{CLAIM}")]
        assert len({claim["state_details"]["transition_id"] for claim in claims}) == 1


def dies_before_the_claim(harness: WorkerHarness, run: str) -> None:
    harness.proxy.hang(method="POST", path=CLAIM, times=None)
    with harness.worker() as worker:
        until(lambda: harness.proxy.seen("POST", f"{run}{CLAIM}"), harness.worker_output)
        worker.kill()


def dies_after_the_claim(harness: WorkerHarness, run: str) -> None:
    harness.proxy.drop_answer(method="POST", path=CLAIM, times=None)
    with harness.worker() as worker:
        harness.await_state(run, "PENDING")
        worker.kill()


def dies_before_the_post(harness: WorkerHarness, run: str) -> None:
    harness.kube_proxy.hang(method="POST", path=JOBS, times=None)
    with harness.worker() as worker:
        until(lambda: harness.kube_proxy.seen("POST", JOBS), harness.worker_output)
        worker.kill()
    assert harness.read(run)["state_type"] == "PENDING"


def dies_after_the_post(harness: WorkerHarness, run: str) -> None:
    harness.kube_proxy.drop_answer(method="POST", path=JOBS, times=None)
    with harness.worker() as worker:
        harness.await_job(run)
        worker.kill()


def dies_before_the_pid(harness: WorkerHarness, run: str) -> None:
    harness.proxy.hang(method="PATCH", path=PID, times=None)
    with harness.worker() as worker:
        until(lambda: harness.proxy.seen("PATCH", f"{run}$"), harness.worker_output)
        worker.kill()
    assert harness.jobs(run)


class TestNoOrphanedClaim:
    """Guarantee 3."""

    @pytest.mark.parametrize(
        "dies",
        [
            dies_before_the_claim,
            dies_after_the_claim,
            dies_before_the_post,
            dies_after_the_post,
            dies_before_the_pid,
        ],
    )
    def test_claim_is_continued_after_a_kill(
        self, harness: WorkerHarness, dies: Callable[[WorkerHarness, str], None]
    ) -> None:
        run = harness.run()
        dies(harness, run)
        assert not harness.read(run)["infrastructure_pid"]
        harness.proxy.clear()
        harness.kube_proxy.clear()
        with harness.worker():
            job = harness.await_job(run)
            until(
                lambda: job in (harness.read(run)["infrastructure_pid"] or ""),
                harness.worker_output,
            )
            finished_once(harness, run)

    def test_claim_of_another_program_is_ignored(self, harness: WorkerHarness) -> None:
        theirs, ours = harness.run(), harness.run()
        harness.report(theirs, "PENDING")
        dies_before_the_post(harness, ours)
        harness.kube_proxy.clear()
        with harness.worker():
            finished_once(harness, ours)
        assert harness.types(theirs) == ["SCHEDULED", "PENDING"]
        assert not harness.jobs(theirs)


def test_a_run_is_claimed_when_it_becomes_due_and_not_at_the_next_poll(
    harness: WorkerHarness,
) -> None:
    """The next poll at an interval would come hours later."""
    due = datetime.now(UTC) + timedelta(seconds=20)
    details = {"scheduled_time": due.isoformat()}
    state = {"type": "SCHEDULED", "name": "Scheduled", "state_details": details}
    run = harness.run(state=state)
    with harness.worker("--prefetch-seconds", "0", PREFECT_WORKER_QUERY_SECONDS="7200"):
        harness.await_job(run)
    claimed = harness.states(run)[1]["timestamp"]
    assert datetime.fromisoformat(claimed) >= due
