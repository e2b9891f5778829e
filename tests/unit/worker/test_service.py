"""When a worker that runs once has done its work."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deployctl.core.cancellation import CancellationToken
from deployctl.worker.control.reconciler import Reconciler
from deployctl.worker.control.state_store import StateStore
from deployctl.worker.health.health_state import HealthMonitor
from deployctl.worker.health.metrics import Metrics
from deployctl.worker.model import Job, Phase
from deployctl.worker.service import Service
from deployctl.worker.settings import WorkerSettings, WorkOptions
from tests.support.kubernetes_jobs import RecordingEventLog

NOBODY = cast(Any, None)


class Lead:
    def __init__(self, is_leader: bool) -> None:
        self.is_leader = is_leader

    def campaign(self, stop: CancellationToken) -> None:
        """Nothing changes."""


def service(table: StateStore, *, is_leader: bool) -> Service:
    """A worker that has polled once."""
    stop, notes, lead = CancellationToken(), RecordingEventLog(), Lead(is_leader)
    reconciler = Reconciler(
        leadership=lead,
        chronicle=NOBODY,
        event_log=notes,
        metrics=Metrics(HealthMonitor(), lambda: 0.0),
        now=lambda: 0.0,
        worker="w",
        limit=None,
        stop=stop,
        table=table,
    )
    return Service(
        options=WorkOptions("pool", "w", run_once=True),
        settings=WorkerSettings(),
        session=NOBODY,
        pulse=NOBODY,
        runtime=NOBODY,
        leadership=lead,
        describer=NOBODY,
        chronicle=NOBODY,
        reconciler=reconciler,
        monitor=HealthMonitor(),
        event_log=notes,
        stop=stop,
        halt=CancellationToken(),
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
    ids=["it runs", "it runs, and another leads", "not its own", "to report", "another reports"],
)
def test_it_waits_for_what_is_its_own_to_do(
    phase: Phase, worker: str, is_leader: bool, done: bool
) -> None:
    job = Job("run", "claim", "job", "flows", "flows:job", worker, phase, 0.0)
    assert service(StateStore(jobs={"claim": job}), is_leader=is_leader)._is_done() is done
