"""A run that exceeds `job_watch_timeout_seconds` ends, though Prefect 3 schedules it on SIGTERM."""

from __future__ import annotations

import pytest

from deployctl.jobs.model import Limits
from tests.unit.worker.simulated_server import Proposed
from tests.unit.worker.simulation import Simulation

LIMITS = Limits(run_timeout=600.0)
HOURS = 3600.0


def play(simulation: Simulation, seconds: float) -> None:
    """Let the pods of all Jobs start, run without an end, and end on SIGTERM."""
    end = simulation.clock.now + seconds
    while simulation.clock.now < end:
        simulation.wait(20)
        simulation.run_workers()
        for job in list(simulation.cluster.jobs.values()):
            if job.deleting:
                simulation.terminate(job)
            else:
                simulation.begin(job)


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("leader", [0, 1])
@pytest.mark.parametrize("events", [(), ("retry", "wake"), ("retry",), ("pause",)])
def test_a_run_that_exceeds_its_time_is_not_run_again(
    events: tuple[str, ...], leader: int, major: int
) -> None:
    """`leader`: 1 lets a follower see first that the Job is gone and the run is due."""
    simulation = Simulation(major, 1, 2, polite=True, retries=1, limits=LIMITS)
    simulation.elect(leader)
    play(simulation, 100)
    for event in events:
        simulation.job(0, event)
    play(simulation, 8 * HOURS)
    state = simulation.server.rows[simulation.runs[0]]["state"]
    assert state["type"] == "CRASHED"
    assert major == 2 or "ran longer than 600 seconds" in state["message"]
    assert len(simulation.cluster.created) == 1
    assert simulation.workers[leader].store.endings.attempts == {}


@pytest.mark.parametrize("leader", [0, 1])
def test_a_run_that_was_cancelled_without_its_process_stays_cancelled(leader: int) -> None:
    """Set to CANCELLED while it runs: its Job is deleted, and the process schedules the run."""
    simulation = Simulation(3, 1, 2, polite=True)
    simulation.elect(leader)
    play(simulation, 100)
    simulation.user(0, "CANCELLED", "Cancelled")
    simulation.ignores_final_state = True
    play(simulation, HOURS)
    assert simulation.server.type_of(simulation.runs[0]) == "CANCELLED"
    assert len(simulation.cluster.created) == 1


def test_a_cancelled_run_is_not_run_again_when_its_process_ends_late() -> None:
    """The process needs longer to end than the leader to read the run again."""
    simulation = Simulation(3, 1, 1, polite=True)
    play(simulation, 100)
    simulation.user(0, "CANCELLED", "Cancelled")
    simulation.ignores_final_state = True
    simulation.wait(70)
    for _ in range(3):
        simulation.run_workers()
        simulation.wait(5)
    [job] = simulation.cluster.jobs.values()
    assert job.deleting
    play(simulation, HOURS)
    assert simulation.server.type_of(simulation.runs[0]) == "CANCELLED"
    assert len(simulation.cluster.created) == 1
    assert simulation.workers[0].store.endings.attempts == {}


@pytest.mark.parametrize("scheduled_by_process", [False, True])
def test_a_cancelled_run_that_a_user_retries_before_its_job_has_ended_runs_again(
    scheduled_by_process: bool,
) -> None:
    """Also if its process schedules it after that."""
    simulation = Simulation(3, 1, 1, polite=True)
    play(simulation, 100)
    simulation.user(0, "CANCELLED", "Cancelled")
    simulation.ignores_final_state = scheduled_by_process
    simulation.wait(70)
    for _ in range(2):
        simulation.run_workers()
    simulation.user(0, "SCHEDULED", "AwaitingRetry")
    [job] = simulation.cluster.jobs.values()
    assert job.deleting
    if not scheduled_by_process:
        simulation.fail(job)
        simulation.vanish(job)
    play(simulation, 100)
    assert simulation.server.type_of(simulation.runs[0]) == "RUNNING"
    assert len(simulation.cluster.created) == 2


def test_a_run_that_a_user_schedules_again_after_its_end_runs_again() -> None:
    simulation = Simulation(3, 1, 1, polite=True, limits=LIMITS)
    play(simulation, 1000)
    simulation.user(0, "SCHEDULED", "AwaitingRetry")
    play(simulation, 1000)
    assert simulation.server.type_of(simulation.runs[0]) == "CRASHED"
    assert len(simulation.cluster.created) == 2


def test_a_job_that_was_deleted_by_hand_is_followed_by_another() -> None:
    """Prefect 3's process schedules the run; it does not start beside the old one."""
    simulation = Simulation(3, 1, 2, polite=True)
    play(simulation, 100)
    [job] = simulation.cluster.jobs.values()
    simulation.cluster.delete(job.name)
    simulation.user(0, "SCHEDULED", "AwaitingRetry")
    simulation.run_workers()
    assert len(simulation.cluster.created) == 1
    play(simulation, 100)
    assert len(simulation.cluster.created) == 2


@pytest.mark.parametrize("ends", [True, False])
def test_a_run_that_failed_while_its_job_was_deleted_may_be_scheduled_again(ends: bool) -> None:
    """Its flow reports the failure on SIGTERM, and an automation retries it before the leader
    reads either."""
    simulation = Simulation(3, 1, 1, polite=False, limits=LIMITS)
    play(simulation, 100)
    simulation.wait(600)
    simulation.run_workers()
    [job] = simulation.cluster.jobs.values()
    assert job.deleting
    if ends:
        simulation.user(0, "FAILED", "Failed")
    simulation.server.propose(job.run, Proposed("SCHEDULED", "AwaitingRetry"))
    simulation.vanish(job)
    play(simulation, 100)
    assert simulation.server.type_of(simulation.runs[0]) == ("RUNNING" if ends else "CRASHED")
    assert len(simulation.cluster.created) == 1 + ends
