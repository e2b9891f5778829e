"""A job that cannot be described any more, because its pool or deployment has changed."""

from __future__ import annotations

import pytest

from deployctl.core.errors import DeployctlError, NotFound
from deployctl.jobs.model import InvalidJobSpec, JobSpec
from deployctl.worker.model import Cause, Run, StartFailed
from tests.unit.worker.simulated_worker import Process
from tests.unit.worker.simulation import World

REASONS = [
    InvalidJobSpec("no such variable"),
    NotFound("no such deployment", status=404),
    StartFailed(Cause("NoCluster", "The 'cluster_config' cannot be used")),
]
reasons = pytest.mark.parametrize("reason", REASONS, ids=lambda reason: type(reason).__name__)
restarts = pytest.mark.parametrize("restarted", [False, True])


def a_running_job(reason: DeployctlError, monkeypatch: pytest.MonkeyPatch) -> World:
    """A run that is worked on by a worker that, in its next life, cannot describe it."""
    world = World(3, runs=1, workers=1, polite=True)
    world.calm()
    world.job(0, "begin")
    world.calm()

    def describe(_self: Process, _run: Run) -> JobSpec:
        raise reason

    monkeypatch.setattr(Process, "_describe", describe)
    world.restart(0)
    return world


@reasons
@restarts
def test_that_has_vanished_is_reported(
    reason: DeployctlError, restarted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = a_running_job(reason, monkeypatch)
    if not restarted:
        world.calm()
    world.job(0, "vanish")
    world.settle()

    assert world.server.type_of(world.runs[0]) == "CRASHED"


@reasons
def test_that_runs_is_let_run(reason: DeployctlError, monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_running_job(reason, monkeypatch)
    world.settle()

    assert world.server.type_of(world.runs[0]) == "RUNNING"
    assert world.violations == []
