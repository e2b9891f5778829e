"""Guarantees 1, 2 and 3: a claim leads to exactly one Job, whatever fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, without_hand_backs

JOBS = "/jobs$"
CLAIM = "/set_state$"
PID = "/flow_runs/[^/]+$"
ONCE = ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]


def finished_once(bench: WorkerHarness, run: str) -> None:
    """Finish the run; it had one claim, one Job and one pod."""
    bench.finish(run)
    bench.await_state(run, "COMPLETED")
    assert without_hand_backs(bench.states(run))[0] == ONCE
    [job] = bench.jobs(run)
    assert len(bench.kubelet.pods(job["metadata"]["name"])) == 1


class TestExactlyOneJobPerAttempt:
    """Guarantee 1."""

    @pytest.mark.parametrize("status", [pytest.param(0, marks=pytest.mark.smoke), 500, 504])
    def test_answer_of_job_creation_is_lost(self, bench: WorkerHarness, status: int) -> None:
        bench.kube_proxy.drop_answer(status, method="POST", path=JOBS, times=2)
        run = bench.run()
        with bench.worker():
            finished_once(bench, run)
        assert len(bench.kube_proxy.seen("POST", JOBS)) >= 3

    def test_two_workers_race(self, bench: WorkerHarness) -> None:
        """The leader continues the claims of the other worker, whose requests are slow."""
        runs = [bench.run() for _ in range(4)]
        bench.kube_proxy.delay(3, method="POST", path=JOBS, times=2)
        with bench.worker("--name", "one"), bench.worker("--name", "two"):
            for run in runs:
                finished_once(bench, run)
        assert len(bench.jobs()) == len(runs)


class TestAClaimSurvivesLostAnswers:
    """Guarantee 2."""

    @pytest.mark.parametrize("status", [0, 500, 504])
    def test_server_commits_and_answer_is_lost(self, bench: WorkerHarness, status: int) -> None:
        bench.proxy.drop_answer(status, method="POST", path=CLAIM, times=3)
        run = bench.run()
        with bench.worker() as worker:
            finished_once(bench, run)
            assert len(worker.entries("run.submitted", run=run)) == 1
        claims = [each.body["state"] for each in bench.proxy.seen("POST", f"{run}{CLAIM}")]
        assert len({claim["state_details"]["transition_id"] for claim in claims}) == 1


def dies_before_the_claim(bench: WorkerHarness, run: str) -> None:
    bench.proxy.hang(method="POST", path=CLAIM, times=None)
    with bench.worker() as worker:
        until(lambda: bench.proxy.seen("POST", f"{run}{CLAIM}"), bench.worker_output)
        worker.kill()


def dies_after_the_claim(bench: WorkerHarness, run: str) -> None:
    bench.proxy.drop_answer(method="POST", path=CLAIM, times=None)
    with bench.worker() as worker:
        bench.await_state(run, "PENDING")
        worker.kill()


def dies_before_the_post(bench: WorkerHarness, run: str) -> None:
    bench.kube_proxy.hang(method="POST", path=JOBS, times=None)
    with bench.worker() as worker:
        until(lambda: bench.kube_proxy.seen("POST", JOBS), bench.worker_output)
        worker.kill()
    assert bench.read(run)["state_type"] == "PENDING"


def dies_after_the_post(bench: WorkerHarness, run: str) -> None:
    bench.kube_proxy.drop_answer(method="POST", path=JOBS, times=None)
    with bench.worker() as worker:
        bench.await_job(run)
        worker.kill()


def dies_before_the_pid(bench: WorkerHarness, run: str) -> None:
    bench.proxy.hang(method="PATCH", path=PID, times=None)
    with bench.worker() as worker:
        until(lambda: bench.proxy.seen("PATCH", f"{run}$"), bench.worker_output)
        worker.kill()
    assert bench.jobs(run)


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
        self, bench: WorkerHarness, dies: Callable[[WorkerHarness, str], None]
    ) -> None:
        run = bench.run()
        dies(bench, run)
        assert not bench.read(run)["infrastructure_pid"]
        bench.proxy.clear()
        bench.kube_proxy.clear()
        with bench.worker():
            job = bench.await_job(run)
            until(lambda: job in (bench.read(run)["infrastructure_pid"] or ""), bench.worker_output)
            finished_once(bench, run)

    def test_claim_of_another_program_is_ignored(self, bench: WorkerHarness) -> None:
        theirs, ours = bench.run(), bench.run()
        bench.report(theirs, "PENDING")
        dies_before_the_post(bench, ours)
        bench.kube_proxy.clear()
        with bench.worker():
            finished_once(bench, ours)
        assert bench.types(theirs) == ["SCHEDULED", "PENDING"]
        assert not bench.jobs(theirs)
