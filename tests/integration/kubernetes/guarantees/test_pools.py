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


def await_polls(bench: WorkerHarness, count: int) -> None:
    """Waits for this many more polls."""
    before = len(bench.proxy.seen("POST", DUE))
    until(lambda: len(bench.proxy.seen("POST", DUE)) >= before + count, bench.worker_output)


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
        self, bench: WorkerHarness, args: list[str], message: str, help_: str
    ) -> None:
        with bench.worker(*args) as worker:
            assert worker.wait() == 1
        [line] = worker.entries("worker.failed")
        assert line["facts"]["code"] == "DC603"
        assert message in line["message"]
        assert help_ in line["facts"]["help"]
        assert not bench.proxy.writes

    def test_missing_pool(self, bench: WorkerHarness) -> None:
        bench.pool = f"nope-{uuid.uuid4().hex[:6]}"
        with bench.worker("--no-create-pool-if-not-found") as worker:
            assert worker.wait() == 1
        [line] = worker.entries("worker.failed")
        assert f"there is no work pool '{bench.pool}'" in line["message"]
        assert not bench.proxy.writes

    @pytest.mark.parametrize("type_", ["cloud-run:push", "prefect:managed"])
    def test_pool_that_needs_no_worker(self, bench: WorkerHarness, type_: str) -> None:
        bench.pool = f"push-{uuid.uuid4().hex[:6]}"
        bench.api.pool(bench.pool, type_)
        with bench.worker() as worker:
            assert worker.wait() == 1
        [line] = worker.entries("worker.failed")
        assert f"is of type '{type_}', which needs no worker" in line["message"]
        assert not bench.proxy.writes

    def test_queue_deleted_while_worker_runs(self, bench: WorkerHarness) -> None:
        queues = f"/work_pools/{bench.pool}/queues"
        bench.api.call("POST", queues, {"name": "quick"})
        with bench.worker("-q", "quick", "-q", "default") as worker:
            await_ready(worker)
            bench.api.call("DELETE", f"{queues}/quick")
            await_fault(worker, "queue", "has no queue 'quick'")
            bench.api.call("POST", queues, {"name": "quick"})
            await_ready(worker)


class TestPauses:
    def test_paused_pool_starts_nothing_until_resumed(self, bench: WorkerHarness) -> None:
        bench.api.call("PATCH", f"/work_pools/{bench.pool}", {"is_paused": True})
        run = bench.run()
        with bench.worker() as worker:
            await_fault(worker, "pool", f"'{bench.pool}' is paused")
            await_polls(bench, 2)
            assert bench.types(run) == ["SCHEDULED"]
            bench.api.call("PATCH", f"/work_pools/{bench.pool}", {"is_paused": False})
            bench.finish(run)
            await_ready(worker)

    def test_paused_queue_starts_nothing_until_resumed(self, bench: WorkerHarness) -> None:
        queues = f"/work_pools/{bench.pool}/queues"
        bench.api.call("POST", queues, {"name": "slow", "is_paused": True})
        held = bench.run(bench.deployment("slow", work_queue_name="slow"))
        with bench.worker() as worker:
            await_fault(worker, "queue", "'slow'")
            bench.finish(bench.run())
            assert bench.types(held) == ["SCHEDULED"]
            bench.api.call("PATCH", f"{queues}/slow", {"is_paused": False})
            bench.finish(held)
            await_ready(worker)


def test_deleted_pool_is_not_created_again(bench: WorkerHarness) -> None:
    with bench.worker() as worker:
        running = bench.run()
        bench.begin(running)
        await_ready(worker)
        bench.api.call("DELETE", f"/work_pools/{bench.pool}")
        await_fault(worker, "pool", "was deleted; it is not made anew")
        await_polls(bench, 2)
        assert bench.jobs(running)
        assert worker.stop() == 0
    names = [pool["name"] for pool in bench.api.call("POST", "/work_pools/filter", {})]
    assert bench.pool not in names
    assert bench.read(running)["state_type"] == "RUNNING"


def test_replacement_of_a_deleted_pool_is_served_after_restart(
    bench: WorkerHarness,
) -> None:
    template = bench.api.call("GET", f"/work_pools/{bench.pool}")["base_job_template"]
    with bench.worker() as worker:
        await_ready(worker)
        bench.api.call("DELETE", f"/work_pools/{bench.pool}")
        bench.api.pool(bench.pool, "kubernetes", template)
        assert worker.wait() == 1
    [line] = worker.entries("worker.failed")
    assert "there is another of that name" in line["message"]
    with bench.worker():
        bench.finish(bench.run(bench.deployment("new")))
