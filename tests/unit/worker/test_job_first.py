"""Nothing stands between a due run and its Job: what the server is told about Jobs comes later."""

from __future__ import annotations

from typing import Any

import pytest

from deployctl.api.calls import Request
from deployctl.api.dialect import Dialect, Version
from deployctl.core.json_values import Json
from tests.unit.worker.simulation import Simulation

STARTED = ("deliver_updates", "poll", "sync", "reconcile", "execute_one", "reconcile")
"""Steps until a run is claimed and the creation of its Job is dispatched."""


def record(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record writes about single runs, and reads of their states."""
    writes: list[str] = []
    answer = simulation.server.answer

    def recording(request: Request) -> Json:
        if request.method == "PATCH" or request.path.endswith("/set_state"):
            writes.append(request.path.partition("/flow_runs/")[2].partition("/")[2] or "location")
        if request.path.startswith("/flow_run_states/"):
            writes.append("read states")
        return answer(request)

    monkeypatch.setattr(type(simulation.server), "answer", lambda _, request: recording(request))
    return writes


@pytest.mark.parametrize(("major", "reports"), [(3, 2), (2, 1)])
def test_all_runs_are_claimed_before_any_job_is_reported(
    major: int, reports: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = Simulation(major, runs=40, workers=1, polite=True)
    writes = record(simulation, monkeypatch)
    simulation.run_workers()
    assert len(simulation.cluster.created) == 40
    assert writes[:80] == ["set_state", "read states"] * 40
    assert len(writes) == 80 + 40 * reports
    assert all(row["infrastructure_pid"] for row in simulation.server.rows.values())


@pytest.mark.parametrize("vanished", [False, True])
def test_the_next_worker_reports_a_job_whose_worker_died_before_it_did(vanished: bool) -> None:
    simulation = Simulation(3, runs=1, workers=1, polite=True)
    for step in (*STARTED, "execute_one"):
        simulation.worker(0, step, ())
    (run,) = simulation.runs
    assert simulation.server.rows[run]["infrastructure_pid"] is None

    simulation.restart(0)
    if vanished:
        simulation.job(0, "vanish")
    simulation.settle()
    assert simulation.server.rows[run]["infrastructure_pid"]
    assert len(simulation.cluster.jobs) == 1
    assert len(set(simulation.cluster.created)) == 1


@pytest.mark.parametrize("events", [("begin",), ("begin", "retry"), ("begin", "pause")])
@pytest.mark.parametrize("moved", [False, True])
def test_a_run_that_started_before_its_job_was_reported_gets_the_location(
    moved: bool, events: tuple[str, ...]
) -> None:
    simulation = Simulation(3, runs=1, workers=1, polite=True, retries=1)
    for step in (*STARTED, "execute_one"):
        simulation.worker(0, step, ())
    for event in events:
        simulation.job(0, event)
    simulation.restart(0)
    if moved:
        simulation.move("other")
    simulation.settle()
    (run,), (job,) = simulation.runs, simulation.cluster.jobs.values()
    assert simulation.server.rows[run]["infrastructure_pid"] == job.pid


def test_an_unreported_job_that_is_gone_is_not_created_again_by_its_worker() -> None:
    simulation = Simulation(3, runs=1, workers=1, polite=True)
    for step in (*STARTED, "execute_one", "deliver_updates", "sync", "reconcile"):
        simulation.worker(0, step, ())
    simulation.job(0, "vanish")
    simulation.settle()
    assert simulation.server.type_of(simulation.runs[0]) == "CRASHED"
    assert simulation.cluster.duplicates == []


def test_the_location_of_an_old_job_is_not_reported_for_the_next_attempt() -> None:
    simulation = Simulation(3, runs=1, workers=1, polite=False)
    for step in (*STARTED, "execute_one"):
        simulation.worker(0, step, ())
    (run,) = simulation.runs
    simulation.job(0, "fail")
    simulation.job(0, "vanish")
    simulation.do(("user", 0, "SCHEDULED", "AwaitingRetry"))
    simulation.worker(0, "poll", ())
    simulation.run_workers()
    (job,) = simulation.cluster.jobs.values()
    assert simulation.server.rows[run]["infrastructure_pid"] == job.pid


@pytest.mark.parametrize(
    ("version", "slow", "reads"),
    [((3, 9, 3), False, 1), ((3, 9, 4), False, 0), ((3, 9, 4), True, 1)],
)
def test_states_are_read_after_a_claim_only_if_the_run_may_have_ended_before_it(
    version: Version, slow: bool, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = Simulation(3, runs=1, workers=1, polite=True)
    simulation.workers[0].reconciler.reporter.dialect = Dialect(version)
    writes = record(simulation, monkeypatch)
    for step in STARTED[:-2]:
        simulation.worker(0, step, ())
    if slow:
        propose = simulation.server.propose

        def propose_slowly(*claim: Any) -> Json:
            simulation.wait(1)
            return propose(*claim)

        monkeypatch.setattr(type(simulation.server), "propose", lambda _, *a: propose_slowly(*a))
    simulation.worker(0, "execute_one", ())
    assert writes == ["set_state"] + ["read states"] * reads
