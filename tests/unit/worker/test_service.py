"""When a worker with --run-once is done, and when it removes leftovers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import pytest

from deployctl.core.cancellation import CancellationToken
from deployctl.worker.control.own_claims import OwnClaims
from deployctl.worker.control.reconciler import Reconciler
from deployctl.worker.control.state_store import StateStore
from deployctl.worker.health.health_state import HealthMonitor
from deployctl.worker.health.metrics import Metrics
from deployctl.worker.model import Job, Phase, Run, WatchStatus
from deployctl.worker.service import Service
from deployctl.worker.settings import WorkerSettings, WorkOptions
from tests.support.kubernetes_jobs import RecordingEventLog

UNUSED = cast(Any, None)


class FixedLeadership:
    def __init__(self, is_leader: bool) -> None:
        self.is_leader = is_leader

    def campaign(self, stop: CancellationToken) -> None:
        """Return at once."""


def service(store: StateStore, *, is_leader: bool, runtime: Any = UNUSED) -> Service:
    """A worker that has polled once."""
    stop, notes, leadership = CancellationToken(), RecordingEventLog(), FixedLeadership(is_leader)
    reconciler = Reconciler(
        leadership=leadership,
        reporter=UNUSED,
        event_log=notes,
        metrics=Metrics(HealthMonitor()),
        now=lambda: 0.0,
        worker="w",
        limit=None,
        shutdown_requested=stop,
        store=store,
    )
    return Service(
        options=WorkOptions("pool", "w", run_once=True),
        settings=WorkerSettings(),
        session=UNUSED,
        heartbeat_session=UNUSED,
        runtime=runtime,
        leadership=leadership,
        job_specs=UNUSED,
        reporter=UNUSED,
        reconciler=reconciler,
        monitor=HealthMonitor(),
        event_log=notes,
        shutdown_requested=stop,
        loops_cancelled=CancellationToken(),
        _polls=1,
    )


@pytest.mark.parametrize(
    ("phase", "worker", "is_leader", "done"),
    [
        (Phase.RUNNING, "w", True, False),
        (Phase.RUNNING, "w", False, False),
        (Phase.RUNNING, "another", True, True),
        (Phase.FAILED, "w", True, False),
        (Phase.FAILED, "w", False, True),
    ],
    ids=[
        "running",
        "running as follower",
        "of another worker",
        "to report",
        "follower reports nothing",
    ],
)
def test_waits_for_its_own_jobs_and_reports(
    phase: Phase, worker: str, is_leader: bool, done: bool
) -> None:
    job = Job("run", "claim", "job", "flows", "flows:job", worker, phase, 0.0)
    assert service(StateStore(jobs={"claim": job}), is_leader=is_leader).is_done is done


class SweptRuntime:
    """Records sweeps; its Jobs are known or not."""

    def __init__(self, *, synced: bool) -> None:
        self.synced = synced
        self.sweeps: list[Collection[str]] = []

    def watch_statuses(self) -> list[WatchStatus]:
        return [WatchStatus("flows", float(self.synced))]

    def sweep(self, needed: Collection[str]) -> None:
        self.sweeps.append(needed)


@pytest.mark.parametrize("synced", [True, False])
def test_sweeps_at_intervals_once_all_jobs_are_known(synced: bool) -> None:
    job = Job("run", "listed", "job", "flows", "flows:job", "w", Phase.RUNNING, 0.0)
    store = StateStore(jobs={"listed": job}, claims=OwnClaims({"own": "run"}))
    runtime = SweptRuntime(synced=synced)
    worker = service(store, is_leader=True, runtime=runtime)
    worker._sweep([Run("run", "red-fox", "s", "PENDING", "Pending", 0.0, "d", "f", attempt="due")])
    worker._sweep([])
    assert runtime.sweeps == ([{"listed", "own", "due"}] if synced else [])
