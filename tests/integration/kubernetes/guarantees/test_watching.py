"""Guarantees 6 and 7: no watch dies in silence, and health is the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cluster.proxy import error
from tests.support.fast_timings import FastTimings
from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, WorkerProcess

WATCHED = "/(jobs|pods)$"
POLL = "/get_scheduled_flow_runs$"


def forbidden(bench: WorkerHarness) -> None:
    for method in ("WATCH", "GET"):
        bench.kube_proxy.answer(403, method=method, path=WATCHED, times=None)
    bench.kube_proxy.cut()


def unreachable(bench: WorkerHarness) -> None:
    bench.kube_proxy.stop_after(len(bench.kube_proxy.exchanges))


MOMENTARY: dict[str, Callable[[WorkerHarness], object]] = {
    "an ERROR frame with 500": lambda bench: bench.kube_proxy.say(error(500, "InternalError")),
    "an ERROR frame with 410": lambda bench: bench.kube_proxy.say(error(410, "Expired")),
    "a connection that breaks": lambda bench: bench.kube_proxy.cut(),
    "a socket that is half open": lambda bench: bench.kube_proxy.freeze(),
}
LASTING = {"connections that are refused": unreachable, "403 for a while": forbidden}


def test_a_failure_is_noticed_whatever_became_of_the_watch(bench: WorkerHarness) -> None:
    """Guarantee 6: one worker goes through all of it, and a job fails in the middle of each."""
    with bench.worker() as worker:
        for trouble, cause in (MOMENTARY | LASTING).items():
            run = bench.run()
            pod = bench.begin(run)
            cause(bench)
            if trouble in LASTING:
                until(complains_of(worker, "watch"), bench.workers_said)
            bench.kubelet.failed(pod, 137, "OOMKilled")
            bench.kube_proxy.clear()
            message = bench.await_state(run, "CRASHED")["message"]
            assert message.startswith("The job failed"), trouble


def faults(worker: WorkerProcess) -> Any:
    """What `/ready` complains of."""
    status, text = worker.page("/ready")
    return json.loads(text).get("faults", {}) if status else {"page": "no answer"}


def complains_of(worker: WorkerProcess, *parts: str) -> Callable[[], bool]:
    def complains() -> bool:
        found = faults(worker)
        return all(any(name.startswith(part) for name in found) for part in parts)

    return complains


def tells_of_poll(worker: WorkerProcess) -> bool:
    """Whether `/health` says that this loop is frozen."""
    status, text = worker.page("/health")
    return status == 503 and "'poll'" in text


def recovers(bench: WorkerHarness, worker: WorkerProcess) -> None:
    """All is well, without a restart."""
    bench.proxy.clear()
    bench.kube_proxy.clear()
    until(lambda: worker.page("/ready")[0] == 200, lambda: str(faults(worker)))


class TestHealthIsTheTruth:
    """Guarantee 7: `/ready` tells of all that a restart does not cure, `/health` of the rest."""

    def test_troubles_of_others_make_it_not_ready(self, bench: WorkerHarness) -> None:
        with bench.worker() as worker:
            until(lambda: worker.page("/ready")[0] == 200, bench.workers_said)

            bench.kube_proxy.hang(method="WATCH", times=None)
            bench.kube_proxy.freeze()
            until(complains_of(worker, "watch"), lambda: str(faults(worker)))
            assert worker.page("/health")[0] == 200
            recovers(bench, worker)

            bench.proxy.answer(401, times=None)
            until(complains_of(worker, "poll", "sync", "heartbeat"), lambda: str(faults(worker)))
            assert worker.page("/health")[0] == 200
            recovers(bench, worker)

            run = bench.run()
            bench.finish(run)
            bench.await_state(run, "COMPLETED")

    def test_maintenance_of_the_server_is_no_illness(self, bench: WorkerHarness) -> None:
        with bench.worker() as worker:
            until(lambda: bench.proxy.seen(path=POLL), bench.workers_said)
            maintenance = {"Prefect-Maintenance": "true", "Retry-After": "0.2"}
            bench.proxy.answer(503, headers=maintenance, times=None)
            until(lambda: len([e for e in bench.proxy.seen() if e.status == 503]) > 20, str)
            assert worker.page("/health")[0] == 200
            run = bench.run()
            recovers(bench, worker)
            bench.finish(run)
            bench.await_state(run, "COMPLETED")

    @pytest.mark.parametrize("server", ["prefect3"], indirect=True)
    def test_a_loop_that_hangs_makes_it_ill(self, bench: WorkerHarness) -> None:
        """Requests end by themselves; one that does not stands for any defect."""
        soon = FastTimings(frozen_after=3)
        with bench.worker(hurry=soon, PREFECT_API_REQUEST_TIMEOUT="600") as worker:
            until(lambda: worker.page("/ready")[0] == 200, bench.workers_said)
            bench.proxy.hang(path=POLL)
            until(lambda: tells_of_poll(worker), bench.workers_said)
