"""Guarantee 18: two watches per cluster, and nothing is kept of finished Jobs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from tests.support.fast_timings import fast_timings
from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, WorkerProcess

WATCHED = "/(jobs|pods)$"
WARM, MANY = 3_000, 5_000
HELD = 10.0
"""Seconds that a 3.x server delays its first answer, so that the queue of pod events fills up."""
SILENCE = 600.0
"""Seconds, longer than the test: no watch is reopened."""
GROWTH = 3_000_000
"""Bytes that the allocator may keep: less than the status of MANY jobs, a tenth of their JSON."""


def memory(worker: WorkerProcess) -> int:
    """Resident memory of the process in bytes."""
    found = worker.page("/metrics")[1].splitlines()
    line = next(each for each in found if each.startswith("process_resident_memory_bytes"))
    return int(float(line.split()[1]))


def lifecycle(job: Any, pod: Any) -> Iterator[tuple[str, str, Any]]:
    """Watch events of a copy of this job and its pod: type, path, object."""
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


def churn(harness: WorkerHarness, job: Any, pod: Any, times: int) -> None:
    """Send watch events of so many jobs that are created and deleted."""
    for _ in range(times):
        for event, path, item in lifecycle(job, pod):
            assert harness.kube_proxy.say({"type": event, "object": item}, path) == 1


class TestSharedWatchAndBoundedMemory:
    """Guarantee 18."""

    def test_memory_does_not_grow_with_finished_jobs(self, harness: WorkerHarness) -> None:
        run = harness.run(job_variables={"stream_output": False})
        with harness.worker(timings=fast_timings(watch_idle_timeout=SILENCE)) as worker:
            pod = harness.begin(run)
            worker.await_entry("job.running", run=run)
            [job], one = harness.jobs(run), harness.kubelet.get(pod)
            harness.proxy.delay(HELD, path="/events$")
            churn(harness, job, one, WARM)
            await_idle(worker, harness.pool)
            before = memory(worker)
            churn(harness, job, one, MANY)
            await_idle(worker, harness.pool)
            assert memory(worker) < before + GROWTH
            assert len(harness.kube_proxy.watches(WATCHED)) == 2
            harness.finish(run)
            worker.await_entry("job.succeeded", run=run)


def await_idle(worker: WorkerProcess, pool: str) -> None:
    """Wait until the worker has processed everything and knows only the one running job."""

    def is_idle() -> bool:
        text = worker.page("/metrics")[1]
        return all(
            line in text
            for line in (
                f'deployctl_worker_queue{{pool="{pool}"}} 0.0',
                f'deployctl_worker_jobs{{phase="running",pool="{pool}"}} 1.0',
                f'deployctl_worker_jobs{{phase="waiting",pool="{pool}"}} 0.0',
            )
        )

    until(is_idle, lambda: worker.page("/metrics")[1])
