"""Serving one work pool, and the end of its jobs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployctl.app.worker import serving
from deployctl.app.worker.serving import stop_all_jobs
from deployctl.core.cancellation import CancellationToken
from deployctl.worker.model import (
    Emit,
    Job,
    JobChanged,
    JobsListed,
    JobVanished,
    LinePrinted,
    Phase,
    RuntimeUnavailable,
)


class EndingRuntime:
    """Two live jobs and one that is over; `watch` reports the end of what is deleted."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.deleted: list[str] = []

    def delete(self, job: Job) -> None:
        self.deleted.append(job.attempt)
        if self.refuses:
            raise RuntimeUnavailable("the folder cannot be used")

    def watch(self, emit: Emit, cancellation: CancellationToken) -> None:
        phases = {"one": Phase.RUNNING, "two": Phase.WAITING, "over": Phase.SUCCEEDED}
        jobs = [
            Job("run", attempt, "job", "here", "pid", "worker", phase, 0.0)
            for attempt, phase in phases.items()
        ]
        emit(LinePrinted("one", "a line before the first list"))
        emit(JobsListed("here", tuple(jobs), 0.0))
        emit(JobChanged(replace(jobs[0], deleting=True)))
        for attempt in () if self.refuses else tuple(self.deleted):
            assert not cancellation.is_cancelled
            emit(JobVanished(attempt))
        assert cancellation.wait(10.0)


def test_all_live_jobs_are_deleted_and_awaited() -> None:
    runtime = EndingRuntime()
    stop_all_jobs(runtime)  # type: ignore[arg-type]
    assert runtime.deleted == ["one", "two"]


def test_jobs_that_cannot_be_deleted_are_awaited_for_a_limited_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "_STOP_JOBS_TIMEOUT", 0.01)
    stop_all_jobs(EndingRuntime(refuses=True))  # type: ignore[arg-type]
