"""Jobs whose deployment was moved to another namespace, and namespaces that may not be read."""

from __future__ import annotations

import pytest

from tests.unit.worker.simulation import Simulation

PERIOD = 30


def play(simulation: Simulation, seconds: float) -> None:
    end = simulation.clock.now + seconds
    while simulation.clock.now < end:
        simulation.wait(PERIOD)
        simulation.run_workers()


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("event", ["begin", "pause", "retry"])
def test_a_run_whose_deployment_was_moved_goes_on_after_a_restart(event: str, major: int) -> None:
    simulation = Simulation(major, 1, 1, polite=True, retries=1)
    simulation.move("before")
    simulation.run_workers()
    for each in ("begin", event):
        simulation.job(0, each)
    simulation.run_workers()
    simulation.move("now")
    simulation.restart(0)
    play(simulation, 600)
    for each in ("wake", "finish"):
        simulation.job(0, each)
    play(simulation, 60)
    assert simulation.server.type_of(simulation.runs[0]) == "COMPLETED"
    assert len(simulation.cluster.created) == 1


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("restarts", [True, False])
def test_a_run_in_a_namespace_that_never_becomes_readable_again_ends(
    restarts: bool, major: int
) -> None:
    simulation = Simulation(major, 1, 1, polite=True)
    simulation.move("deleted")
    simulation.run_workers()
    simulation.job(0, "begin")
    simulation.run_workers()
    simulation.job(0, "vanish")
    simulation.refuse("deleted")
    if restarts:
        simulation.restart(0)
    play(simulation, 1200)
    assert simulation.server.type_of(simulation.runs[0]) == "RUNNING"
    play(simulation, 1200)
    state = simulation.server.rows[simulation.runs[0]]["state"]
    assert state["type"] == "CRASHED"
    assert "cannot be found: the worker may not list jobs" in state["message"]


@pytest.mark.parametrize("major", [2, 3])
def test_a_namespace_that_may_not_be_read_delays_no_other_run(major: int) -> None:
    """One deployment names a wrong namespace; the worker dies before it creates the next Job."""
    simulation = Simulation(major, 2, 1, polite=True)
    simulation.refuse("wrong")
    simulation.move("wrong")
    wrong, right = simulation.runs
    held = simulation.server.rows.pop(right)
    simulation.run_workers()
    assert simulation.server.type_of(wrong) == "CRASHED"

    simulation.server.rows[right] = held
    simulation.move("own")
    for step in ("poll", "reconcile", "execute_one"):
        simulation.worker(0, step, ())
    simulation.restart(0)
    play(simulation, 90)
    assert len(simulation.cluster.created) == 1


@pytest.mark.parametrize("major", [2, 3])
def test_an_orphaned_claim_in_a_namespace_that_may_not_be_read_crashes(major: int) -> None:
    simulation = Simulation(major, 1, 1, polite=True)
    for step in ("poll", "reconcile", "execute_one"):
        simulation.worker(0, step, ())
    simulation.refuse("wrong")
    simulation.move("wrong")
    simulation.restart(0)
    play(simulation, 90)
    state = simulation.server.rows[simulation.runs[0]]["state"]
    assert state["type"] == "CRASHED"
    assert "the worker may not create it" in state["message"]
