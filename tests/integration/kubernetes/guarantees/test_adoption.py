"""Guarantees 4 and 5: adoption of Jobs at startup, and Jobs that disappeared."""

from __future__ import annotations

import math

from deployctl.clients.kubernetes import PAGE_SIZE
from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness

MANY = PAGE_SIZE + 1
"""Number of Jobs: more than a page of a list, and few enough for a busy server."""
REPORTED = "/set_state$"


def read_all(harness: WorkerHarness, field: str) -> dict[str, str]:
    """A field of all runs of the pool, by id."""
    asked = {
        "work_pools": {"name": {"any_": [harness.pool]}},
        "sort": "ID_DESC",
        "limit": 200,
    }
    found = harness.api.call("POST", "/flow_runs/filter", asked)
    return {run["id"]: run[field] for run in found}


def has_pid(harness: WorkerHarness, run: str) -> bool:
    """Whether the server knows the run's Job."""
    return bool(harness.read(run)["infrastructure_pid"])


def test_jobs_are_adopted_after_a_restart(harness: WorkerHarness) -> None:
    """Guarantee 4: from two lists, whatever their number; later changes are reported."""
    runs = [harness.run() for _ in range(MANY)]
    with harness.worker() as worker:
        until(lambda: len(worker.entries("run.submitted")) >= MANY, harness.worker_output, 240)
        assert len(worker.entries("run.submitted")) == MANY
        pods = {run: harness.begin(run) for run in runs[:3]}
        pids = "infrastructure_pid"
        until(lambda: all(read_all(harness, pids).values()), harness.worker_output, 240)
        worker.kill()
    before = read_all(harness, "state_id")
    meanwhile, later, fine = runs[:3]
    harness.kubelet.failed(pods[meanwhile], 137, "OOMKilled")
    harness.report(fine, "COMPLETED")
    harness.kubelet.succeeded(pods[fine])
    harness.proxy.clear()
    harness.kube_proxy.clear()

    with harness.worker() as worker:
        assert "memory" in harness.await_state(meanwhile, "CRASHED")["message"]
        harness.kubelet.failed(pods[later], 3)
        assert "code 3" in harness.await_state(later, "CRASHED")["message"]

    assert {len(worker.entries(event)) for event in ("run.claimed", "run.submitted")} == {0}
    assert len(harness.jobs()) == MANY
    after = read_all(harness, "state_id")
    assert {run for run in runs if after[run] != before[run]} == {meanwhile, later, fine}
    reports = harness.proxy.seen("POST", REPORTED)  # repeated unchanged to a busy server
    assert len({(each.path, str(each.body)) for each in reports}) == 2
    assert not harness.proxy.seen(path="events/filter")
    lists = harness.kube_proxy.seen("GET", "/v1/(jobs|pods)$")
    of_the_pool = [each for each in lists if "pool-id" in each.query]  # and not of one attempt
    assert len(of_the_pool) == 2 * math.ceil(MANY / PAGE_SIZE)
    assert not harness.kube_proxy.seen("GET", "/jobs/.")


def test_a_job_that_disappeared_is_noticed(harness: WorkerHarness) -> None:
    """Guarantee 5: a claim of another program, which has no Job of ours, is not touched."""
    foreign = harness.run()
    harness.report(foreign, "PENDING")
    pending, running, there = (harness.run() for _ in range(3))
    with harness.worker() as worker:
        harness.begin(running)
        until(lambda: len(worker.entries("run.submitted")) == 3, harness.worker_output)
        until(lambda: all(has_pid(harness, run) for run in (pending, there)), harness.worker_output)
        worker.kill()
    for run in (pending, running):
        job = harness.await_job(run)
        harness.kube.request("DELETE", f"{harness.jobs_path}/{job}?propagationPolicy=Background")
        harness.await_no_job(run)

    with harness.worker():
        for run in (pending, running):
            assert "is gone" in harness.await_state(run, "CRASHED")["message"]
        assert harness.types(there) == ["SCHEDULED", "PENDING"]
        assert harness.types(foreign) == ["SCHEDULED", "PENDING"]
        harness.finish(there)
        harness.await_state(there, "COMPLETED")
    assert not harness.jobs(pending)
