"""Guarantees 4 and 5: adoption of Jobs at startup, and Jobs that disappeared."""

from __future__ import annotations

import math

from deployctl.clients.kubernetes import PAGE_SIZE
from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness

MANY = 60
"""Number of Jobs: more than a page of a list, and few enough for a busy server."""
REPORTED = "/set_state$"


def states(bench: WorkerHarness) -> dict[str, str]:
    """The state ids of all runs of the pool."""
    asked = {
        "work_pools": {"name": {"any_": [bench.pool]}},
        "sort": "ID_DESC",
        "limit": 200,
    }
    found = bench.api.call("POST", "/flow_runs/filter", asked)
    return {run["id"]: run["state_id"] for run in found}


def has_pid(bench: WorkerHarness, run: str) -> bool:
    """Whether the server knows the run's Job."""
    return bool(bench.read(run)["infrastructure_pid"])


def test_jobs_are_adopted_after_a_restart(bench: WorkerHarness) -> None:
    """Guarantee 4: from two lists, whatever their number; later changes are reported."""
    runs = [bench.run() for _ in range(MANY)]
    with bench.worker() as worker:
        until(lambda: len(worker.entries("run.submitted")) >= MANY, bench.worker_output, 240)
        assert len(worker.entries("run.submitted")) == MANY
        pods = {run: bench.begin(run) for run in runs[:3]}
        worker.kill()
    before = states(bench)
    meanwhile, later, fine = runs[:3]
    bench.kubelet.failed(pods[meanwhile], 137, "OOMKilled")
    bench.report(fine, "COMPLETED")
    bench.kubelet.succeeded(pods[fine])
    bench.proxy.clear()
    bench.kube_proxy.clear()

    with bench.worker() as worker:
        assert "memory" in bench.await_state(meanwhile, "CRASHED")["message"]
        bench.kubelet.failed(pods[later], 3)
        assert "code 3" in bench.await_state(later, "CRASHED")["message"]

    assert {len(worker.entries(event)) for event in ("run.claimed", "run.submitted")} == {0}
    assert len(bench.jobs()) == MANY
    after = states(bench)
    assert {run for run in runs if after[run] != before[run]} == {meanwhile, later, fine}
    reports = bench.proxy.seen("POST", REPORTED)  # repeated unchanged to a busy server
    assert len({(each.path, str(each.body)) for each in reports}) == 2
    assert not bench.proxy.seen(path="events/filter")
    lists = bench.kube_proxy.seen("GET", "/v1/(jobs|pods)$")
    of_the_pool = [each for each in lists if "pool-id" in each.query]  # and not of one attempt
    assert len(of_the_pool) == 2 * math.ceil(MANY / PAGE_SIZE)
    assert not bench.kube_proxy.seen("GET", "/jobs/.")


def test_a_job_that_disappeared_is_noticed(bench: WorkerHarness) -> None:
    """Guarantee 5: a claim of another program, which has no Job of ours, is not touched."""
    foreign = bench.run()
    bench.report(foreign, "PENDING")
    pending, running, there = (bench.run() for _ in range(3))
    with bench.worker() as worker:
        bench.begin(running)
        until(lambda: len(worker.entries("run.submitted")) == 3, bench.worker_output)
        until(lambda: all(has_pid(bench, run) for run in (pending, there)), bench.worker_output)
        worker.kill()
    for run in (pending, running):
        job = bench.await_job(run)
        bench.kube.request("DELETE", f"{bench.jobs_path}/{job}?propagationPolicy=Background")
        bench.await_no_job(run)

    with bench.worker():
        for run in (pending, running):
            assert "is gone" in bench.await_state(run, "CRASHED")["message"]
        assert bench.types(there) == ["SCHEDULED", "PENDING"]
        assert bench.types(foreign) == ["SCHEDULED", "PENDING"]
        bench.finish(there)
        bench.await_state(there, "COMPLETED")
    assert not bench.jobs(pending)
