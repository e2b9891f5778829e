"""Guarantees 8, 9 and 10: server errors neither end the worker nor fail a run."""

from __future__ import annotations

from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, WorkerProcess

CODES = (401, 403, 404, 409, 422, 429, 500, 503)
SHARED = {
    "POST": ("/get_scheduled_flow_runs$", "/workers/heartbeat$", "/queues/filter$", "runs/filter$"),
    "GET": ("/work_pools/[^/]+$",),
}
"""The routes that all runs share, by method."""


def impatient(harness: WorkerHarness) -> WorkerProcess:
    """A worker whose client gives up soon, so that errors reach the worker itself."""
    return harness.worker(PREFECT_CLIENT_MAX_RETRIES="1")


def own_deployment(harness: WorkerHarness, name: str) -> tuple[str, str]:
    """Ids of a new deployment and a run of it."""
    deployment = harness.deployment(name)
    return deployment, harness.run(deployment)


def await_all(harness: WorkerHarness, worker: WorkerProcess, runs: list[str]) -> None:
    """All runs end, each after one claim and with one Job."""
    for run in runs:
        harness.finish(run)
        harness.await_state(run, "COMPLETED")
        assert len(harness.jobs(run)) == 1
    assert worker.is_alive


class TestNoErrorOfTheServerEndsAWorker:
    """Guarantee 8."""

    def test_each_status_once_on_each_route_of_a_run(self, harness: WorkerHarness) -> None:
        runs = []
        for code in CODES:
            deployment, run = own_deployment(harness, f"code-{code}")
            runs.append(run)
            harness.proxy.answer(code, method="GET", path=f"/deployments/{deployment}$")
            harness.proxy.answer(code, method="POST", path=f"/flow_runs/{run}/set_state$")
            harness.proxy.answer(code, method="PATCH", path=f"/flow_runs/{run}$")
            harness.proxy.answer(code, method="GET", path=f"/flow_runs/{run}$")
        harness.proxy.answer(500, method="GET", path=f"/flows/{harness.flow_id}$")
        with harness.worker() as worker:
            await_all(harness, worker, runs)

    def test_every_status_on_shared_routes(self, harness: WorkerHarness) -> None:
        """One status after the other, twice each, on all routes at once."""
        with harness.worker(
            PREFECT_CLIENT_MAX_RETRIES="1",
            PREFECT_WORKER_QUERY_SECONDS="0.2",
            PREFECT_WORKER_HEARTBEAT_SECONDS="0.2",
            PREFECT_WORKER_CANCELLATION_POLL_SECONDS="0.2",
        ) as worker:
            worker.await_entry("worker.started")
            for method, paths in SHARED.items():
                for path in paths:
                    for code in CODES:
                        harness.proxy.answer(code, method=method, path=path, times=2)
            run = harness.run()
            await_all(harness, worker, [run])
            until(lambda: worker.page("/ready")[0] == 200, harness.worker_output)

    def test_permanent_errors_of_some_runs_do_not_affect_others(
        self, harness: WorkerHarness
    ) -> None:
        claims, deployments = [], []
        for code in CODES:
            deployment, job_spec = own_deployment(harness, f"deployment-{code}")
            harness.proxy.answer(code, path=f"/deployments/{deployment}$", times=None)
            deployments.append(job_spec)
            claims.append(harness.run())
            harness.proxy.answer(code, path=f"/flow_runs/{claims[-1]}/set_state$", times=None)
        well = harness.run()
        with impatient(harness) as worker:
            await_all(harness, worker, [well])
            gone = deployments.pop(CODES.index(404))
            message = harness.await_state(gone, "CRASHED")["message"]
            assert "cannot be started: the deployment" in message
            assert worker.page("/health")[0] == 200
            harness.proxy.clear()
            await_all(harness, worker, [*claims, *deployments])


def test_failed_reports_never_fail_a_run(harness: WorkerHarness) -> None:
    """Guarantee 9: labels, events, logs and the pid; none is retried forever."""
    for method, path in (("PATCH", "/labels$"), ("POST", "/events"), ("POST", "/logs/$")):
        harness.proxy.answer(500, method=method, path=path, times=None)
    run = harness.run()
    place = f"/flow_runs/{run}$"
    harness.proxy.answer(403, method="PATCH", path=place, times=None)
    with impatient(harness) as worker:
        until(lambda: len(harness.proxy.seen("PATCH", place)) >= 3, harness.worker_output)
        await_all(harness, worker, [run])
        assert len(worker.entries("run.submitted", run=run)) == 1
        harness.proxy.clear()
        until(lambda: harness.log(run).count("created job") == 1, lambda: harness.log(run))


def test_a_single_404_never_ends_a_run(harness: WorkerHarness) -> None:
    """Guarantee 10: a server may answer so once during a rollout."""
    run = harness.run()
    harness.proxy.answer(404, method="GET", path=f"/deployments/{harness.deployment_id}$")
    with harness.worker() as worker:
        await_all(harness, worker, [run])
    assert harness.types(run) == ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]
