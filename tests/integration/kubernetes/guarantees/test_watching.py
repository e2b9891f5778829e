"""Guarantees 6 and 7: watches recover from every failure, and health is accurate."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cluster.proxy import error
from tests.support.fast_timings import fast_timings
from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, WorkerProcess

WATCHED = "/(jobs|pods)$"
POLL = "/get_scheduled_flow_runs$"


def forbidden(harness: WorkerHarness) -> None:
    for method in ("WATCH", "GET"):
        harness.kube_proxy.answer(403, method=method, path=WATCHED, times=None)
    harness.kube_proxy.cut()


def unreachable(harness: WorkerHarness) -> None:
    harness.kube_proxy.stop_after(len(harness.kube_proxy.exchanges))


MOMENTARY: dict[str, Callable[[WorkerHarness], object]] = {
    "an ERROR frame with 500": lambda harness: harness.kube_proxy.say(error(500, "InternalError")),
    "an ERROR frame with 410": lambda harness: harness.kube_proxy.say(error(410, "Expired")),
    "a connection that breaks": lambda harness: harness.kube_proxy.cut(),
    "a socket that is half open": lambda harness: harness.kube_proxy.freeze(),
}
LASTING = {"connections that are refused": unreachable, "403 for a while": forbidden}


def test_failure_is_noticed_whatever_broke_the_watch(harness: WorkerHarness) -> None:
    """Guarantee 6: one worker meets all failures, and a Job fails during each."""
    with harness.worker() as worker:
        for trouble, cause in (MOMENTARY | LASTING).items():
            run = harness.run()
            pod = harness.begin(run)
            cause(harness)
            if trouble in LASTING:
                until(reports_faults(worker, "watch"), harness.worker_output)
            harness.kubelet.failed(pod, 137, "OOMKilled")
            harness.kube_proxy.clear()
            message = harness.await_state(run, "CRASHED")["message"]
            assert message.startswith("The job failed"), trouble


def faults(worker: WorkerProcess) -> Any:
    """The faults that `/ready` reports."""
    status, text = worker.page("/ready")
    return json.loads(text).get("faults", {}) if status else {"page": "no answer"}


def reports_faults(worker: WorkerProcess, *parts: str) -> Callable[[], bool]:
    def matches() -> bool:
        found = faults(worker)
        return all(any(name.startswith(part) for name in found) for part in parts)

    return matches


def poll_is_frozen(worker: WorkerProcess) -> bool:
    """Whether `/health` reports that the poll loop is frozen."""
    status, text = worker.page("/health")
    return status == 503 and "'poll'" in text


def recovers(harness: WorkerHarness, worker: WorkerProcess) -> None:
    """The worker becomes ready without a restart."""
    harness.proxy.clear()
    harness.kube_proxy.clear()
    until(lambda: worker.page("/ready")[0] == 200, lambda: str(faults(worker)))


class TestHealthIsTheTruth:
    """Guarantee 7: `/ready` reports what a restart does not cure, `/health` the rest."""

    def test_external_problems_fail_readiness_only(self, harness: WorkerHarness) -> None:
        with harness.worker() as worker:
            until(lambda: worker.page("/ready")[0] == 200, harness.worker_output)

            harness.kube_proxy.hang(method="WATCH", times=None)
            harness.kube_proxy.freeze()
            until(reports_faults(worker, "watch"), lambda: str(faults(worker)))
            assert worker.page("/health")[0] == 200
            recovers(harness, worker)

            harness.proxy.answer(401, times=None)
            until(reports_faults(worker, "poll", "sync", "heartbeat"), lambda: str(faults(worker)))
            assert worker.page("/health")[0] == 200
            recovers(harness, worker)

            run = harness.run()
            harness.finish(run)
            harness.await_state(run, "COMPLETED")

    def test_server_maintenance_does_not_fail_liveness(self, harness: WorkerHarness) -> None:
        with harness.worker() as worker:
            until(lambda: harness.proxy.seen(path=POLL), harness.worker_output)
            maintenance = {"Prefect-Maintenance": "true", "Retry-After": "0.2"}
            harness.proxy.answer(503, headers=maintenance, times=None)
            until(lambda: len([e for e in harness.proxy.seen() if e.status == 503]) > 20, str)
            assert worker.page("/health")[0] == 200
            run = harness.run()
            recovers(harness, worker)
            harness.finish(run)
            harness.await_state(run, "COMPLETED")

    @pytest.mark.parametrize("server", ["prefect3"], indirect=True)
    def test_hanging_loop_fails_liveness(self, harness: WorkerHarness) -> None:
        """Requests time out; one that does not stands for any defect."""
        soon = fast_timings(loop_timeout=3)
        with harness.worker(timings=soon, PREFECT_API_REQUEST_TIMEOUT="600") as worker:
            until(lambda: worker.page("/ready")[0] == 200, harness.worker_output)
            harness.proxy.hang(path=POLL)
            until(lambda: poll_is_frozen(worker), harness.worker_output)
