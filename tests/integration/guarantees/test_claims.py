"""Guarantees 1, 2 and 3: a claim leads to exactly one Job, whatever dies or gets lost."""

from __future__ import annotations

from tests.support.worker import Bench

JOBS = r"/jobs$"


def finish(bench: Bench, run: str) -> None:
    """Plays the flow's process and the kubelet until the run is completed."""
    pod = bench.await_pod(run)
    bench.kubelet.running(pod)
    bench.report(run, "RUNNING")
    bench.report(run, "COMPLETED")
    bench.kubelet.succeeded(pod)


def test_exactly_one_job_per_attempt_although_the_answer_is_lost(bench: Bench) -> None:
    bench.kube_proxy.drop_answer(method="POST", path=JOBS)
    run = bench.run()
    with bench.worker():
        finish(bench, run)
        bench.await_state(run, "COMPLETED")
        assert len(bench.jobs(run)) == 1
