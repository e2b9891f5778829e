"""Guarantee 26, and what else a pool and its queues keep from a worker: it says so, `/ready` turns
red, `/health` stays green, and once it is mended runs start."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, WorkerProcess

DUE = "/get_scheduled_flow_runs$"


def faults(worker: WorkerProcess) -> Any:
    """What `/ready` complains about; {} while it does not."""
    status, body = worker.page("/ready")
    return json.loads(body).get("faults", {}) if status == 503 else {}


def await_fault(worker: WorkerProcess, name: str, words: str) -> None:
    """Waits until `/ready` complains with these words; a restart would not help."""
    until(lambda: words in faults(worker).get(name, ""), lambda: f"{faults(worker)}{worker.output}")
    assert worker.page("/health")[0] == 200
    assert worker.is_alive


def await_ready(worker: WorkerProcess) -> None:
    until(lambda: worker.page("/ready")[0] == 200, lambda: f"{faults(worker)}{worker.output}")


def await_polls(harness: WorkerHarness, count: int) -> None:
    """Waits for this many more polls."""
    before = len(harness.proxy.seen("POST", DUE))
    until(lambda: len(harness.proxy.seen("POST", DUE)) >= before + count, harness.worker_output)


class TestTyposAreVisible:
    """Guarantee 26."""

    @pytest.mark.parametrize(
        ("args", "message", "help_"),
        [
            (["-q", "defualt"], "has no queue 'defualt'", "Did you mean 'default'?"),
            (["--type", "proces"], "is of type 'kubernetes', not 'proces'", "Leave --type out"),
        ],
    )
    def test_wrong_queue_or_type_at_startup(
        self, harness: WorkerHarness, args: list[str], message: str, help_: str
    ) -> None:
        with harness.worker(*args) as worker:
            assert worker.wait() == 1
        [line] = worker.entries("worker.failed")
        assert line["facts"]["code"] == "DC603"
        assert message in line["message"]
        assert help_ in line["facts"]["help"]
        assert not harness.proxy.writes

    def test_missing_pool(self, harness: WorkerHarness) -> None:
        harness.pool = f"nope-{uuid.uuid4().hex[:6]}"
        with harness.worker("--no-create-pool-if-not-found") as worker:
            assert worker.wait() == 1
        [line] = worker.entries("worker.failed")
        assert f"there is no work pool '{harness.pool}'" in line["message"]
        assert not harness.proxy.writes

    @pytest.mark.parametrize("type_", ["cloud-run:push", "prefect:managed"])
    def test_pool_that_needs_no_worker(self, harness: WorkerHarness, type_: str) -> None:
        harness.pool = f"push-{uuid.uuid4().hex[:6]}"
        harness.api.pool(harness.pool, type_)
        with harness.worker() as worker:
            assert worker.wait() == 1
        [line] = worker.entries("worker.failed")
        assert f"is of type '{type_}', which needs no worker" in line["message"]
        assert not harness.proxy.writes

    def test_queue_deleted_while_worker_runs(self, harness: WorkerHarness) -> None:
        queues = f"/work_pools/{harness.pool}/queues"
        harness.api.call("POST", queues, {"name": "quick"})
        with harness.worker("-q", "quick", "-q", "default") as worker:
            await_ready(worker)
            harness.api.call("DELETE", f"{queues}/quick")
            await_fault(worker, "queue", "has no queue 'quick'")
            harness.api.call("POST", queues, {"name": "quick"})
            await_ready(worker)


class TestPauses:
    def test_paused_pool_starts_nothing_until_resumed(self, harness: WorkerHarness) -> None:
        harness.api.call("PATCH", f"/work_pools/{harness.pool}", {"is_paused": True})
        run = harness.run()
        with harness.worker() as worker:
            await_fault(worker, "pool", f"'{harness.pool}' is paused")
            await_polls(harness, 2)
            assert harness.types(run) == ["SCHEDULED"]
            harness.api.call("PATCH", f"/work_pools/{harness.pool}", {"is_paused": False})
            harness.finish(run)
            await_ready(worker)

    def test_paused_queue_starts_nothing_until_resumed(self, harness: WorkerHarness) -> None:
        queues = f"/work_pools/{harness.pool}/queues"
        harness.api.call("POST", queues, {"name": "slow", "is_paused": True})
        held = harness.run(harness.deployment("slow", work_queue_name="slow"))
        with harness.worker() as worker:
            await_fault(worker, "queue", "'slow'")
            harness.finish(harness.run())
            assert harness.types(held) == ["SCHEDULED"]
            harness.api.call("PATCH", f"{queues}/slow", {"is_paused": False})
            harness.finish(held)
            await_ready(worker)


def test_deleted_pool_is_not_created_again(harness: WorkerHarness) -> None:
    with harness.worker() as worker:
        running = harness.run()
        harness.begin(running)
        await_ready(worker)
        harness.api.call("DELETE", f"/work_pools/{harness.pool}")
        await_fault(worker, "pool", "was deleted; it is not created again")
        await_polls(harness, 2)
        assert harness.jobs(running)
        assert worker.stop() == 0
    names = [pool["name"] for pool in harness.api.call("POST", "/work_pools/filter", {})]
    assert harness.pool not in names
    assert harness.read(running)["state_type"] == "RUNNING"


def test_replacement_of_a_deleted_pool_is_served_after_restart(
    harness: WorkerHarness,
) -> None:
    template = harness.api.call("GET", f"/work_pools/{harness.pool}")["base_job_template"]
    with harness.worker() as worker:
        await_ready(worker)
        harness.api.call("DELETE", f"/work_pools/{harness.pool}")
        harness.api.pool(harness.pool, "kubernetes", template)
        assert worker.wait() == 1
    [line] = worker.entries("worker.failed")
    assert "there is another of that name" in line["message"]
    with harness.worker():
        harness.finish(harness.run(harness.deployment("new")))
