"""Guarantee 18: two streams tell of all jobs of a cluster, and what is over is forgotten."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from tests.support.fast_timings import FastTimings
from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, WorkerProcess

WATCHED = "/(jobs|pods)$"
WARM, MANY = 3_000, 5_000
HELD = 10.0
"""Seconds for which a 3.x server keeps the worker waiting at first, so that as many events of pods
wait there as may."""
SILENCE = 600.0
"""Seconds: as long as the test lasts, both streams are the first ones."""
GROWTH = 3_000_000
"""Bytes, for what the allocator likes to keep: less than the facts of MANY jobs, and a tenth of
their JSON."""


def memory(worker: WorkerProcess) -> int:
    """Bytes that the process has in memory."""
    found = worker.page("/metrics")[1].splitlines()
    line = next(each for each in found if each.startswith("process_resident_memory_bytes"))
    return int(float(line.split()[1]))


def life(job: Any, pod: Any) -> Iterator[tuple[str, str, Any]]:
    """What a watch tells of one more job like this and its pod: event, path, object."""
    known = [each["metadata"]["uid"] for each in (job, pod)]
    labels = job["metadata"]["labels"]
    known += [labels[f"deployctl.io/{name}"] for name in ("run-id", "attempt")]
    text = json.dumps([job, pod])
    for each in known:
        text = text.replace(each, str(uuid.uuid4()))
    job, pod = json.loads(text)
    yield "ADDED", "/jobs$", job
    yield "ADDED", "/pods$", pod
    yield "MODIFIED", "/pods$", pod
    yield "DELETED", "/pods$", pod
    yield "DELETED", "/jobs$", job


def churn(bench: WorkerHarness, job: Any, pod: Any, times: int) -> None:
    """The watches tell of so many jobs that come and go."""
    for _ in range(times):
        for event, path, item in life(job, pod):
            assert bench.kube_proxy.say({"type": event, "object": item}, path) == 1


class TestSharedWatchAndBoundedMemory:
    """Guarantee 18."""

    def test_however_many_jobs_come_and_go(self, bench: WorkerHarness) -> None:
        run = bench.run(job_variables={"stream_output": False})
        with bench.worker(hurry=FastTimings(silence=SILENCE)) as worker:
            pod = bench.begin(run)
            worker.await_told("job.running", run=run)
            [job], one = bench.jobs(run), bench.kubelet.get(pod)
            bench.proxy.delay(HELD, path="/events$")
            churn(bench, job, one, WARM)
            settled(worker)
            before = memory(worker)
            churn(bench, job, one, MANY)
            settled(worker)
            assert memory(worker) < before + GROWTH
            assert len(bench.kube_proxy.watches(WATCHED)) == 2
            bench.finish(run)
            worker.await_told("job.succeeded", run=run)


def settled(worker: WorkerProcess) -> None:
    """The worker has heard everything, and knows of the one job that lives."""

    def quiet() -> bool:
        text = worker.page("/metrics")[1]
        return all(
            line in text
            for line in (
                "deployctl_worker_queue 0.0",
                'deployctl_worker_jobs{phase="running"} 1.0',
                'deployctl_worker_jobs{phase="waiting"} 0.0',
            )
        )

    until(quiet, lambda: worker.page("/metrics")[1])
