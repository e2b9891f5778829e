"""Actions that were decided on before their run moved on do nothing."""

from __future__ import annotations

from typing import Any

import pytest

from deployctl.worker.control.actions import Claim, ReportFinalState
from deployctl.worker.control.decide import crashed
from deployctl.worker.control.outcomes import WORKER_GONE
from deployctl.worker.control.reports import ReportJob
from deployctl.worker.model import Job, Phase, Run
from deployctl.worker.timings import Timings
from tests.unit.worker.simulated_server import DEPLOYMENT, FLOW
from tests.unit.worker.simulation import OTHER_OWNER, Simulation

TIMINGS = Timings()


def a_run(simulation: Simulation, type: str, **more: Any) -> Run:  # noqa: A002
    (run,) = simulation.runs
    return Run(run, "fox", "s", type, type.title(), 0.0, DEPLOYMENT, FLOW, **more)


@pytest.mark.parametrize(("owner", "end"), [("gone", "PENDING"), (OTHER_OWNER, "CRASHED")])
def test_the_end_for_an_owner_that_is_gone_spares_the_claim_of_another(
    owner: str, end: str
) -> None:
    simulation = Simulation(3, runs=1, workers=1, polite=False)
    simulation.foreign_worker(1)
    run = a_run(simulation, "PENDING", foreign=True, claim_owner=owner)
    executor = simulation.workers[0].reconciler.executor
    executor.execute(ReportFinalState(run, crashed(WORKER_GONE)), 0)
    assert simulation.server.type_of(run.id) == end


@pytest.mark.parametrize("failures", [0, 1])
def test_the_offer_of_a_run_is_not_trusted_after_a_failed_claim(failures: int) -> None:
    simulation = Simulation(3, runs=1, workers=1, polite=False)
    simulation.user(0, "FAILED", "Failed")
    executor = simulation.workers[0].reconciler.executor
    executor.execute(Claim(a_run(simulation, "SCHEDULED"), fresh=True), failures)
    claimed = [violation for violation in simulation.violations if "was claimed" in violation]
    assert len(claimed) == 1 - failures


@pytest.mark.parametrize(("age", "reported"), [(0, True), (TIMINGS.offer_ttl, False)])
def test_a_late_report_is_not_taken_for_that_of_the_next_attempt(
    age: float, reported: bool
) -> None:
    simulation = Simulation(3, runs=1, workers=1, polite=False)
    simulation.foreign_worker(1)
    run = a_run(simulation, "PENDING", attempt="old")
    since = simulation.clock.now - age
    job = Job(run.id, "old", "fox-1", "own", "own:fox-1", "w", Phase.RUNNING, since)
    simulation.workers[0].reconciler.executor.execute(ReportJob(run, job), 0)
    assert bool(simulation.server.rows[run.id]["infrastructure_pid"]) is reported
