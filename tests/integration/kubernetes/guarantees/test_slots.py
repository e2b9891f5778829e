"""Guarantees 16 and 17: `--limit` counts jobs that live; whatever ends a job frees its place."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, pairwise

from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, WorkerProcess

FINAL = {"COMPLETED", "CRASHED", "CANCELLED"}
POLL = "/get_scheduled_flow_runs$"
LISTED = "/jobs$"
LIMIT = 3


def live(harness: WorkerHarness) -> list[str]:
    """The runs whose pods are not over, also those that are asked to end."""
    return [
        pod["metadata"]["labels"]["deployctl.io/run-id"]
        for pod in harness.kubelet.pods()
        if pod["status"]["phase"] in ("Pending", "Running")
    ]


def lives(harness: WorkerHarness) -> list[tuple[str, str]]:
    """When each pod began and ended."""
    return [
        (pod["metadata"]["creationTimestamp"], each["state"]["terminated"]["finishedAt"])
        for pod in harness.kubelet.pods()
        for each in pod["status"]["containerStatuses"]
    ]


def polled(harness: WorkerHarness, times: int = 3) -> None:
    """The worker has asked so many times for more work."""
    before = len(harness.proxy.seen("POST", POLL))
    until(lambda: len(harness.proxy.seen("POST", POLL)) >= before + times, harness.worker_output)


def counted(worker: WorkerProcess, name: str) -> float:
    """A metric of the worker."""
    lines = worker.page("/metrics")[1].splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


class TestLimitMeansRunningJobs:
    """Guarantee 16."""

    def test_worker_dies_and_restarts(self, harness: WorkerHarness) -> None:
        """The second worker learns late about the Job of the first one."""
        runs = {harness.run() for _ in range(3)}
        with harness.worker("--name", "w", "--limit", "1") as first:
            [run] = until(lambda: live(harness), harness.worker_output)
            harness.begin(run)
            polled(harness)
            assert live(harness) == [run]
            first.kill()
        harness.kube_proxy.delay(3, method="GET", path=LISTED, times=1)
        with harness.worker("--name", "w", "--limit", "1"):
            polled(harness)
            while runs:
                [run] = until(lambda: live(harness), harness.worker_output)
                harness.finish(run)
                runs.remove(run)
        for before, after in pairwise(sorted(lives(harness))):
            assert before[1] <= after[0]


def has_no_job(harness: WorkerHarness, worker: WorkerProcess) -> bool:
    """Whether the worker counts neither jobs nor claims."""
    harness.kubelet.remove_terminating()
    phases = [f'deployctl_worker_jobs{{phase="{phase}"' for phase in ("waiting", "running")]
    return not any(counted(worker, name) for name in (*phases, "deployctl_worker_claims"))


def completes(harness: WorkerHarness, run: str) -> None:
    harness.finish(run)


def fails(harness: WorkerHarness, run: str) -> None:
    harness.kubelet.failed(harness.await_pod(run))


def is_silent(harness: WorkerHarness, run: str) -> None:
    harness.kubelet.succeeded(harness.await_pod(run))


def is_cancelled(harness: WorkerHarness, run: str) -> None:
    harness.report(run, "CANCELLED", force=True)


def loses_its_job(harness: WorkerHarness, run: str) -> None:
    pod = harness.begin(run)
    path = f"/apis/batch/v1/namespaces/{harness.namespace}/jobs/{harness.await_job(run)}"
    harness.kube.request("DELETE", path, {"propagationPolicy": "Background"})
    harness.kubelet.remove(pod)


ENDINGS: tuple[Callable[[WorkerHarness, str], None], ...] = (
    completes,
    fails,
    is_silent,
    is_cancelled,
    loses_its_job,
)


class TestSlotsNeverLeak:
    """Guarantee 17."""

    def test_slots_are_released_however_jobs_end(self, harness: WorkerHarness) -> None:
        harness.kube_proxy.answer(422, method="POST", path="/jobs$", times=LIMIT + 1)
        harness.proxy.answer(403, method="POST", path="/set_state$", times=LIMIT + 1)
        waiting = {harness.run() for _ in range(24)}
        endings = cycle(ENDINGS)
        with harness.worker("--limit", str(LIMIT)) as worker:
            met: set[str] = set()

            def all_final() -> bool:
                harness.kubelet.remove_terminating()
                found = live(harness)
                assert len(found) <= LIMIT
                for run in set(found) - met:
                    met.add(run)
                    next(endings)(harness, run)
                states = {run: harness.read(run)["state_type"] for run in waiting}
                waiting.difference_update(run for run in states if states[run] in FINAL)
                return not waiting

            until(all_final, harness.worker_output, seconds=240)
            assert len(met) > len(ENDINGS) * 3
            until(lambda: has_no_job(harness, worker), lambda: worker.page("/metrics")[1])
            last = [harness.run() for _ in range(LIMIT)]
            until(lambda: sorted(live(harness)) == sorted(last), harness.worker_output)
