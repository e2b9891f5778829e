"""Guarantees 22, 27 and 28: the worker process with a wrong clock, its shutdown, its footprint."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.fast_timings import fast_timings
from tests.support.waiting import TIMEOUT, until
from tests.support.worker_harness import WorkerHarness, WorkerProcess

JOBS = "/jobs$"
CLAIM = "/set_state$"
DUE = "/get_scheduled_flow_runs$"
TEN_MINUTES = 600.0
PREFECTS_IDLE = 154_752
"""Resident memory in kilobytes of Prefect 3's worker while it is idle."""


class TestClockIndependence:
    """Guarantee 22."""

    @pytest.mark.parametrize("ahead", [TEN_MINUTES, -TEN_MINUTES])
    def test_runs_start_by_the_servers_clock(self, harness: WorkerHarness, ahead: float) -> None:
        soon = datetime.now(UTC) + timedelta(minutes=5)
        later = harness.run(
            state={
                "type": "SCHEDULED",
                "name": "Scheduled",
                "state_details": {"scheduled_time": soon.isoformat()},
            }
        )
        due = harness.run()
        with harness.worker(clock_offset=ahead):
            harness.finish(due)
            until(lambda: len(harness.proxy.seen("POST", DUE)) > 3, harness.worker_output)
        assert harness.types(due) == ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]
        assert harness.types(later) == ["SCHEDULED"]
        for poll in harness.proxy.seen("POST", DUE):
            asked = datetime.fromisoformat(poll.body["scheduled_before"]).timestamp()
            assert abs(asked - time.time()) < TEN_MINUTES / 2


@contextmanager
def sigint_ignored() -> Iterator[None]:
    """Programs that are started meanwhile ignore SIGINT, as background jobs of a script do."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class TestFastCleanStop:
    """Guarantee 27."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_shutdown_finishes_pending_creation_and_claims_nothing(
        self, harness: WorkerHarness, number: signal.Signals
    ) -> None:
        delayed = harness.kube_proxy.delay(TIMEOUT, method="POST", path=JOBS)
        under_way = harness.run()
        with (
            sigint_ignored(),
            harness.worker(timings=fast_timings(shutdown_grace=TIMEOUT)) as worker,
        ):
            until(lambda: harness.kube_proxy.seen("POST", JOBS), harness.worker_output)
            worker.process.send_signal(number)
            worker.await_entry("worker.stopping")
            left = harness.run()
            delayed.set()
            assert worker.wait() == 0
        [job] = harness.jobs()
        assert harness.read(under_way)["infrastructure_pid"].endswith(job["metadata"]["name"])
        assert harness.types(left) == ["SCHEDULED"]

    def test_shutdown_leaves_the_rest_to_the_next_worker(self, harness: WorkerHarness) -> None:
        harness.kube_proxy.refuse(method="POST", path=JOBS, times=None)
        run = harness.run()
        with harness.worker() as worker:
            worker.await_entry("run.start_failed", run=run)
            assert worker.stop() == 0
        assert harness.types(run) == ["SCHEDULED", "PENDING"]
        harness.kube_proxy.clear()
        with harness.worker():
            harness.finish(run)
        assert harness.types(run) == ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]

    def test_hanging_server_and_cluster_do_not_delay_shutdown(self, harness: WorkerHarness) -> None:
        harness.kube_proxy.hang(method="POST", path=JOBS, times=None)
        harness.run()
        with harness.worker() as worker:
            until(lambda: harness.kube_proxy.seen("POST", JOBS), harness.worker_output)
            seen = len(harness.proxy.exchanges)
            harness.proxy.hang(times=None)
            until(lambda: len(harness.proxy.exchanges) > seen, harness.worker_output)
            worker.process.send_signal(signal.SIGTERM)
            assert worker.wait() == 0
        assert worker.entries("worker.stopped")


class TestLight:
    """Guarantee 28."""

    def test_imports_no_server(self, harness: WorkerHarness) -> None:
        with harness.worker(PYTHONPROFILEIMPORTTIME="1") as worker:
            harness.finish(harness.run())
            assert resident(worker) < PREFECTS_IDLE
        imported = {
            line.rpartition("|")[2].strip().partition(".")[0]
            for line in worker.output.splitlines()
            if line.startswith("import time:")
        }
        assert {"httpx", "kubernetes"} <= imported
        heavy = {"prefect", "sqlalchemy", "fastapi", "uvicorn", "asyncio", "docker"}
        assert not heavy & imported


def resident(worker: WorkerProcess) -> int:
    """Resident memory of the worker in kilobytes."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
