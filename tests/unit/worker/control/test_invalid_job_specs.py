"""A run whose job spec cannot be built any more, because its pool or deployment has changed."""

from __future__ import annotations

import pytest

from deployctl.core.errors import DeployctlError, NotFound
from deployctl.jobs.model import InvalidJobSpec, JobSpec
from deployctl.worker.model import Cause, Run, StartFailed
from tests.unit.worker.simulated_worker import SimulatedJobSpecs
from tests.unit.worker.simulation import Simulation

REASONS = [
    InvalidJobSpec("no such variable"),
    NotFound("no such deployment", status=404),
    StartFailed(Cause("NoCluster", "The 'cluster_config' cannot be used")),
]
reasons = pytest.mark.parametrize("reason", REASONS, ids=lambda reason: type(reason).__name__)
restarts = pytest.mark.parametrize("restarted", [False, True])


def a_running_job(reason: DeployctlError, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """A run with a running Job; its worker was restarted and can build no spec for it."""
    simulation = Simulation(3, runs=1, workers=1, polite=True)
    simulation.run_workers()
    simulation.job(0, "begin")
    simulation.run_workers()

    def build_spec(_self: SimulatedJobSpecs, _run: Run) -> JobSpec:
        raise reason

    monkeypatch.setattr(SimulatedJobSpecs, "__call__", build_spec)
    simulation.restart(0)
    return simulation


@reasons
@restarts
def test_reports_it_when_its_job_has_vanished(
    reason: DeployctlError, restarted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = a_running_job(reason, monkeypatch)
    if not restarted:
        simulation.run_workers()
    simulation.job(0, "vanish")
    simulation.settle()

    assert simulation.server.type_of(simulation.runs[0]) == "CRASHED"


@reasons
def test_lets_its_job_run(reason: DeployctlError, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = a_running_job(reason, monkeypatch)
    simulation.settle()

    assert simulation.server.type_of(simulation.runs[0]) == "RUNNING"
    assert simulation.violations == []
