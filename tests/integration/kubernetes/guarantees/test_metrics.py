"""What `/metrics` says after runs have ended, on real servers and in a real cluster."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, WorkerProcess


def value(worker: WorkerProcess, name: str, **labels: str) -> float:
    """The sum of the samples of this name and these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(worker.page("/metrics")[1])
        for sample in family.samples
        if sample.name == f"deployctl_worker_{name}" and labels.items() <= sample.labels.items()
    )


def await_value(worker: WorkerProcess, least: float, name: str, **labels: Any) -> None:
    until(lambda: value(worker, name, **labels) >= least, lambda: worker.page("/metrics")[1])


def test_runs_are_counted_by_their_end_and_delays_are_measured(harness: WorkerHarness) -> None:
    with harness.worker("--name", "w") as worker:
        completed, failed, crashed = (harness.run() for _ in range(3))
        harness.finish(completed)
        pod = harness.begin(failed)
        harness.report(failed, "FAILED")
        harness.kubelet.failed(pod)
        harness.kubelet.failed(harness.begin(crashed))
        for outcome in ("completed", "failed", "crashed"):
            await_value(worker, 1, "runs_total", event=outcome, pool=harness.pool)
        assert value(worker, "runs_total", event="crashed", cause="ExitCode") == 1
        for delay in ("claim", "job_creation", "job_start"):
            assert value(worker, f"{delay}_delay_seconds_count", pool=harness.pool) == 3
            assert value(worker, f"{delay}_delay_seconds_sum") >= 0


def test_failed_requests_are_counted_although_a_retry_helps(harness: WorkerHarness) -> None:
    harness.proxy.answer(503, path="/get_scheduled_flow_runs$", times=2)
    harness.kube_proxy.answer(500, method="POST", path="/jobs$", times=1)
    with harness.worker() as worker:
        harness.finish(harness.run())
        await_value(worker, 2, "request_errors_total", target="api", kind="server_error")
        await_value(worker, 1, "request_errors_total", target="cluster", kind="server_error")
