"""What the thread that decides tells of jobs, and what it keeps of them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest

from deployctl.core.cancellation import CancellationToken
from deployctl.worker.control.decide import Action, DeleteJob, Start
from deployctl.worker.control.executor import ActionExecutor
from deployctl.worker.control.reconciler import Reconciler
from deployctl.worker.event_log import Level
from deployctl.worker.health.health_state import HealthMonitor
from deployctl.worker.health.metrics import Metrics
from deployctl.worker.model import (
    Cause,
    Job,
    JobChanged,
    JobVanished,
    LinePrinted,
    NoLeaderElection,
    Phase,
    Run,
    WatchStatus,
)
from deployctl.worker.server.run_reporter import RunReporter
from tests.support.kubernetes_jobs import RecordingEventLog

FULL = Cause("Unschedulable", "No node can take the pod")
PULL = Cause("ImagePullError", "The image cannot be pulled")

DEAF, HEARD = [WatchStatus("flows", 0.0)], [WatchStatus("flows", 1.0)]
"""Before anything was listed, nothing is done."""


class Held:
    """Hands that end an action when they are told to."""

    def __init__(self) -> None:
        self.actions: queue.Queue[Action] = queue.Queue()
        self.go_on = threading.Event()

    def do(self, action: Action, _failures: int) -> None:
        self.actions.put(action)
        self.go_on.wait(30.0)


class Silent:
    """A chronicle that nobody reads."""

    def waits(self, run: Run, cause: Cause) -> None:
        pass


@pytest.fixture
def notes() -> RecordingEventLog:
    return RecordingEventLog()


@pytest.fixture
def reconciler(notes: RecordingEventLog) -> Iterator[Reconciler]:
    created_at = Reconciler(
        leadership=NoLeaderElection(),
        chronicle=cast(RunReporter, Silent()),
        event_log=notes,
        metrics=Metrics(HealthMonitor(), lambda: 0.0),
        now=lambda: 0.0,
        worker="w",
        limit=None,
        stop=CancellationToken(),
    )
    yield created_at
    created_at.close()


def waiting(name: str, cause: Cause) -> JobChanged:
    job = Job(name, f"claim-{name}", name, "flows", f"flows:{name}", "w", Phase.WAITING, 0.0)
    return JobChanged(replace(job, cause=cause))


def hears(reconciler: Reconciler, news: JobChanged) -> None:
    run = Run(news.job.run, "fox", "s", "PENDING", "Pending", 0.0, "", "f", attempt="a")
    reconciler.emit(lambda table: table.know(run))
    reconciler.emit(news)
    reconciler.step(DEAF)


def test_a_cause_is_told_once_for_as_long_as_it_lasts(
    reconciler: Reconciler, notes: RecordingEventLog
) -> None:
    for cause in (FULL, FULL, PULL, PULL):
        hears(reconciler, waiting("one", cause))
    told = [message for _, event, message in notes.entries if event == "job.start_delayed"]
    assert told == [FULL.message, PULL.message]


def test_what_was_told_of_jobs_that_are_gone_is_forgotten(reconciler: Reconciler) -> None:
    for name in "abc":
        hears(reconciler, waiting(name, FULL))
        reconciler.emit(JobVanished(f"claim-{name}"))
    hears(reconciler, waiting("last", FULL))
    assert [*reconciler._explained] == ["claim-last"]


def test_what_jobs_print_is_told_at_once_so_that_no_flood_of_it_holds_up_the_work(
    reconciler: Reconciler, notes: RecordingEventLog
) -> None:
    reconciler.emit(LinePrinted("claim-one", "hello"))
    assert notes.entries == [(Level.INFO, "job.output", "hello")]


def test_one_thing_at_a_time_is_done_about_a_run(reconciler: Reconciler) -> None:
    run = Run("run", "fox", "s", "PENDING", "Pending", 0.0, "", "f", "pid", "new")
    old = Job("run", "old", "job", "flows", "flows:job", "w", Phase.WAITING, 0.0)
    held = Held()
    reconciler.hands = cast(ActionExecutor, held)
    reconciler.table.claimed(run)
    reconciler.table.synced = True
    reconciler.emit(JobChanged(old))
    reconciler.step(HEARD)
    assert isinstance(held.actions.get(timeout=30.0), Start)
    reconciler.emit(JobChanged(old))
    reconciler.step(HEARD)
    assert held.actions.empty()
    held.go_on.set()
    reconciler.emit(lambda table: table.created(replace(old, attempt="new")))
    reconciler.step(HEARD)
    assert isinstance(held.actions.get(timeout=30.0), DeleteJob)
