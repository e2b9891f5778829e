"""What the reconciler reports about Jobs, and how it dispatches actions."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest

from deployctl.core.cancellation import CancellationToken
from deployctl.worker.control.actions import Action, DeleteJob, Start
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

NOT_SYNCED, SYNCED = [WatchStatus("flows", 0.0)], [WatchStatus("flows", 1.0)]
"""Before Jobs were listed, nothing is done about them."""


class BlockingExecutor:
    """Executor whose actions end when `proceed` is set."""

    def __init__(self) -> None:
        self.actions: queue.Queue[Action] = queue.Queue()
        self.proceed = threading.Event()

    def execute(self, action: Action, _failures: int) -> None:
        self.actions.put(action)
        self.proceed.wait(30.0)


class NullReporter:
    """Reporter that sends nothing."""

    def log_cause(self, run: Run, cause: Cause) -> None:
        pass


@pytest.fixture
def event_log() -> RecordingEventLog:
    return RecordingEventLog()


@pytest.fixture
def reconciler(event_log: RecordingEventLog) -> Iterator[Reconciler]:
    reconciler = Reconciler(
        leadership=NoLeaderElection(),
        reporter=cast(RunReporter, NullReporter()),
        event_log=event_log,
        metrics=Metrics(HealthMonitor()),
        now=lambda: 0.0,
        worker="w",
        limit=None,
        shutdown_requested=CancellationToken(),
    )
    yield reconciler
    reconciler.close()


def waiting(name: str, cause: Cause) -> JobChanged:
    job = Job(name, f"claim-{name}", name, "flows", f"flows:{name}", "w", Phase.WAITING, 0.0)
    return JobChanged(replace(job, cause=cause))


def observe(reconciler: Reconciler, update: JobChanged) -> None:
    run = Run(update.job.run, "fox", "s", "PENDING", "Pending", 0.0, "", "f", attempt="a")
    reconciler.enqueue(lambda store: store.refresh_run(run))
    reconciler.enqueue(update)
    reconciler.step(NOT_SYNCED)


def test_reports_a_cause_once_for_as_long_as_it_lasts(
    reconciler: Reconciler, event_log: RecordingEventLog
) -> None:
    for cause in (FULL, FULL, PULL, PULL):
        observe(reconciler, waiting("one", cause))
    messages = [message for _, event, message in event_log.entries if event == "job.start_delayed"]
    assert messages == [FULL.message, PULL.message]


def test_forgets_causes_of_jobs_that_are_gone(reconciler: Reconciler) -> None:
    for name in "abc":
        observe(reconciler, waiting(name, FULL))
        reconciler.enqueue(JobVanished(f"claim-{name}"))
    observe(reconciler, waiting("last", FULL))
    assert [*reconciler._reported_causes] == ["claim-last"]


def test_log_entries_about_a_job_name_its_run(
    reconciler: Reconciler, event_log: RecordingEventLog
) -> None:
    observe(reconciler, waiting("one", FULL))
    reconciler.enqueue(LinePrinted("claim-one", "hello"))
    events = [event for _, event, _ in event_log.entries]
    assert events == ["job.waiting", "job.start_delayed", "job.output"]
    assert [(facts["name"], facts["job"]) for facts in event_log.facts] == [("fox", "one")] * 3


def test_the_start_and_the_end_of_a_run_are_logged(
    reconciler: Reconciler, event_log: RecordingEventLog
) -> None:
    observe(reconciler, waiting("one", FULL))
    started = waiting("one", FULL)
    observe(reconciler, JobChanged(replace(started.job, phase=Phase.RUNNING)))
    ended = Run("one", "fox", "s", "FAILED", "TimedOut", 0.0, "", "f", attempt="a")
    reconciler.enqueue(lambda store: store.in_flight.clear())
    reconciler.enqueue(lambda store: store.sync([], [], 0.0))
    reconciler.enqueue(lambda store: store.sync(["one"], [ended], store.clock() + 1))
    reconciler.step(NOT_SYNCED)
    entries = [
        (event, message, facts)
        for (_, event, message), facts in zip(event_log.entries, event_log.facts, strict=True)
    ]
    assert entries[-1] == (
        "run.failed", "'fox' ended as TimedOut", {"run": "one", "name": "fox"},
    )  # fmt: skip
    [delay] = [facts["delay"] for event, _, facts in entries if event == "job.running"]
    assert delay >= 0


@pytest.mark.parametrize("reported", [True, False])
def test_an_end_that_an_action_reports_is_logged_once(
    reconciler: Reconciler, event_log: RecordingEventLog, reported: bool
) -> None:
    """The server has the end, but its answer was lost; a list shows it before the next attempt."""
    observe(reconciler, waiting("one", FULL))
    ended = Run("one", "fox", "s", "CRASHED", "Crashed", 0.0, "", "f", attempt="a")
    reconciler.enqueue(lambda store: store.sync([], [], 0.0))
    reconciler.enqueue(lambda store: store.in_flight.add("one"))
    reconciler.enqueue(lambda store: store.sync(["one"], [ended], store.clock() + 1))
    reconciler.step(NOT_SYNCED)
    logged = [event for _, event, _ in event_log.entries]
    assert "run.crashed" not in logged
    reconciler.enqueue(lambda store: store.refresh_run(ended, end_reported=reported))
    reconciler.enqueue(lambda store: store.in_flight.discard("one"))
    reconciler.step(NOT_SYNCED)
    logged = [event for _, event, _ in event_log.entries]
    assert logged.count("run.crashed") == (not reported)


def test_logs_printed_lines_in_the_calling_thread(
    reconciler: Reconciler, event_log: RecordingEventLog
) -> None:
    reconciler.enqueue(LinePrinted("claim-one", "hello"))
    assert event_log.entries == [(Level.INFO, "job.output", "hello")]


def test_dispatches_one_action_per_run_at_a_time(reconciler: Reconciler) -> None:
    run = Run("run", "fox", "s", "PENDING", "Pending", 0.0, "", "f", "pid", "new")
    old = Job("run", "old", "job", "flows", "flows:job", "w", Phase.WAITING, 0.0)
    executor = BlockingExecutor()
    reconciler.executor = cast(ActionExecutor, executor)
    reconciler.store.add_claim(run)
    reconciler.store.synced = True
    reconciler.enqueue(JobChanged(old))
    reconciler.step(SYNCED)
    assert isinstance(executor.actions.get(timeout=30.0), Start)
    reconciler.enqueue(JobChanged(old))
    reconciler.step(SYNCED)
    assert executor.actions.empty()
    executor.proceed.set()
    reconciler.enqueue(lambda store: store.add_job(replace(old, attempt="new")))
    for _ in range(30):  # the first action's thread may end after any of these steps
        reconciler.step(SYNCED)
        if not executor.actions.empty():
            break
    assert isinstance(executor.actions.get(timeout=30.0), DeleteJob)
