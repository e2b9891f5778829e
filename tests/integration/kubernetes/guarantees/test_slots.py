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


def live(bench: WorkerHarness) -> list[str]:
    """The runs whose pods are not over, also those that are asked to end."""
    return [
        pod["metadata"]["labels"]["deployctl.io/run-id"]
        for pod in bench.kubelet.pods()
        if pod["status"]["phase"] in ("Pending", "Running")
    ]


def lives(bench: WorkerHarness) -> list[tuple[str, str]]:
    """When each pod began and ended."""
    return [
        (pod["metadata"]["creationTimestamp"], each["state"]["terminated"]["finishedAt"])
        for pod in bench.kubelet.pods()
        for each in pod["status"]["containerStatuses"]
    ]


def polled(bench: WorkerHarness, times: int = 3) -> None:
    """The worker has asked so many times for more work."""
    before = len(bench.proxy.seen("POST", POLL))
    until(lambda: len(bench.proxy.seen("POST", POLL)) >= before + times, bench.worker_output)


def counted(worker: WorkerProcess, name: str) -> float:
    """A metric of the worker."""
    lines = worker.page("/metrics")[1].splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


class TestLimitMeansRunningJobs:
    """Guarantee 16."""

    def test_worker_dies_and_restarts(self, bench: WorkerHarness) -> None:
        """The second worker learns late about the Job of the first one."""
        runs = {bench.run() for _ in range(3)}
        with bench.worker("--name", "w", "--limit", "1") as first:
            [run] = until(lambda: live(bench), bench.worker_output)
            bench.begin(run)
            polled(bench)
            assert live(bench) == [run]
            first.kill()
        bench.kube_proxy.delay(3, method="GET", path=LISTED, times=1)
        with bench.worker("--name", "w", "--limit", "1"):
            polled(bench)
            while runs:
                [run] = until(lambda: live(bench), bench.worker_output)
                bench.finish(run)
                runs.remove(run)
        for before, after in pairwise(sorted(lives(bench))):
            assert before[1] <= after[0]


def has_no_job(bench: WorkerHarness, worker: WorkerProcess) -> bool:
    """Whether the worker counts neither jobs nor claims."""
    bench.kubelet.remove_terminating()
    phases = [f'deployctl_worker_jobs{{phase="{phase}"}}' for phase in ("waiting", "running")]
    return not any(counted(worker, name) for name in (*phases, "deployctl_worker_claims"))


def completes(bench: WorkerHarness, run: str) -> None:
    bench.finish(run)


def fails(bench: WorkerHarness, run: str) -> None:
    bench.kubelet.failed(bench.await_pod(run))


def is_silent(bench: WorkerHarness, run: str) -> None:
    bench.kubelet.succeeded(bench.await_pod(run))


def is_cancelled(bench: WorkerHarness, run: str) -> None:
    bench.report(run, "CANCELLED", force=True)


def loses_its_job(bench: WorkerHarness, run: str) -> None:
    pod = bench.begin(run)
    path = f"/apis/batch/v1/namespaces/{bench.namespace}/jobs/{bench.await_job(run)}"
    bench.kube.request("DELETE", path, {"propagationPolicy": "Background"})
    bench.kubelet.remove(pod)


ENDINGS: tuple[Callable[[WorkerHarness, str], None], ...] = (
    completes,
    fails,
    is_silent,
    is_cancelled,
    loses_its_job,
)


class TestSlotsNeverLeak:
    """Guarantee 17."""

    def test_slots_are_released_however_jobs_end(self, bench: WorkerHarness) -> None:
        bench.kube_proxy.answer(422, method="POST", path="/jobs$", times=LIMIT + 1)
        bench.proxy.answer(403, method="POST", path="/set_state$", times=LIMIT + 1)
        waiting = {bench.run() for _ in range(24)}
        endings = cycle(ENDINGS)
        with bench.worker("--limit", str(LIMIT)) as worker:
            met: set[str] = set()

            def all_final() -> bool:
                bench.kubelet.remove_terminating()
                found = live(bench)
                assert len(found) <= LIMIT
                for run in set(found) - met:
                    met.add(run)
                    next(endings)(bench, run)
                states = {run: bench.read(run)["state_type"] for run in waiting}
                waiting.difference_update(run for run in states if states[run] in FINAL)
                return not waiting

            until(all_final, bench.worker_output, seconds=240)
            assert len(met) > len(ENDINGS) * 3
            until(lambda: has_no_job(bench, worker), lambda: worker.page("/metrics")[1])
            last = [bench.run() for _ in range(LIMIT)]
            until(lambda: sorted(live(bench)) == sorted(last), bench.worker_output)
