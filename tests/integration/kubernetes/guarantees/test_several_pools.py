"""Guarantees 16, 18 and 21 for one worker process that serves two pools of a cluster."""

from __future__ import annotations

import copy
import uuid
from collections import Counter
from functools import partial
from typing import Any

import pytest

from deployctl.jobs.base_job_templates import base_job_template
from deployctl.worker.timings import DEFAULT_TIMINGS
from tests.integration.kubernetes.guarantees.test_memory import memory
from tests.support.cluster.pods import unscheduled
from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, WorkerProcess

POLL = "/get_scheduled_flow_runs$"
WATCHED = "/(jobs|pods)$"
NOW = {"propagationPolicy": "Background"}


def another_pool(harness: WorkerHarness, name: str) -> WorkerHarness:
    """The same server, cluster and namespace with a new pool of this name."""
    other = copy.copy(harness)
    other.pool = name
    template = unscheduled(base_job_template("kubernetes"))
    for variable, default in {"namespace": harness.namespace, "image": "flow:1"}.items():
        template["variables"]["properties"][variable]["default"] = default
    other.pool_id = harness.api.pool(other.pool, "kubernetes", template)["id"]
    other.deployment_id = other.deployment("other")
    return other


@pytest.fixture
def other(harness: WorkerHarness) -> WorkerHarness:
    return another_pool(harness, f"team-{uuid.uuid4().hex[:8]}-a")


def workers_of(harness: WorkerHarness) -> list[str]:
    """The online workers of the pool, as the server shows them."""
    found = harness.api.call("POST", f"/work_pools/{harness.pool}/workers/filter", {})
    return [each["name"] for each in found]


def test_pools_share_watches_and_nothing_else(harness: WorkerHarness, other: WorkerHarness) -> None:
    with harness.worker("--pool", other.pool, "--limit", "1", "--name", "w") as worker:
        first, second = harness.run(), other.run()
        pods = harness.begin(first), other.begin(second)
        assert len(harness.kube_proxy.watches(WATCHED)) == 2
        waiting = harness.run()  # the limit is one of each pool
        for pool in (harness, other):
            until(partial(workers_of, pool), harness.worker_output)
            assert workers_of(pool) == ["w"]
        other.kube.request("DELETE", f"{other.jobs_path}/{other.await_job(second)}", NOW)
        other.await_state(second, "CRASHED")
        assert harness.read(first)["state"]["type"] == "RUNNING"
        assert not harness.jobs(waiting)
        harness.report(first, "COMPLETED")
        harness.kubelet.succeeded(pods[0])
        harness.finish(waiting)
        worker.await_entry("run.completed", run=waiting, pool=harness.pool)
        worker.await_entry("run.crashed", run=second, pool=other.pool)
    for run in (first, waiting):
        assert harness.types(run) == ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]
    assert other.types(second) == ["SCHEDULED", "PENDING", "RUNNING", "CRASHED"]


def test_a_killed_worker_of_two_pools_is_followed_by_one_of_a_pattern(
    harness: WorkerHarness, other: WorkerHarness
) -> None:
    pattern = other.pool[:-1] + "*"
    with harness.worker("--pool", other.pool, "--name", "w") as before:
        running = other.run()
        pod = other.begin(running)
        before.kill()
    harness.pool = pattern
    with harness.worker("--name", "w") as worker:
        added = another_pool(harness, f"{other.pool[:-1]}b")
        run = added.run()
        added.finish(run)
        worker.await_entry("run.completed", run=run, pool=added.pool)
        assert len(harness.kube_proxy.watches(WATCHED)) == 2
        other.report(running, "COMPLETED")
        other.kubelet.succeeded(pod)
        worker.await_entry("run.completed", run=running, pool=other.pool)
        harness.api.call("DELETE", f"/work_pools/{added.pool}")
        worker.await_entry("pool.released", pool=added.pool)
        until(lambda: worker.page("/ready")[0] == 200, lambda: worker.output)
    assert other.types(running) == ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]
    assert len(other.jobs(running)) == 1


def idle_memory(harness: WorkerHarness, worker: WorkerProcess, pools: int) -> int:
    """Resident bytes of a worker after each of its pools was polled a few times."""

    def has_polled() -> bool:
        polls = Counter(each.path for each in harness.proxy.seen("POST", POLL))
        return len(polls) == pools and min(polls.values()) >= 4

    until(has_polled, lambda: worker.output)
    return memory(worker)


def test_twenty_idle_pools_take_half_as_much_memory_again_as_one(harness: WorkerHarness) -> None:
    names = ("QUERY", "HEARTBEAT", "CANCELLATION_POLL")
    idle: Any = {f"PREFECT_WORKER_{name}_SECONDS": "3" for name in names}
    name = harness.pool
    with harness.worker("--name", "w", timings=DEFAULT_TIMINGS, **idle) as worker:
        one = idle_memory(harness, worker, 1)
    for number in range(19):
        another_pool(harness, f"{name}-{number}")
    harness.pool = f"{name}*"
    with harness.worker("--name", "w", timings=DEFAULT_TIMINGS, **idle) as worker:
        until(lambda: len(worker.entries("worker.started")) == 20, lambda: worker.output)
        twenty = idle_memory(harness, worker, 20)
        assert len(harness.kube_proxy.watches(WATCHED)) == 2
    print(f"{one / 1e6:.1f} MB with one pool, {twenty / 1e6:.1f} MB with twenty")
    assert twenty <= 1.5 * one
