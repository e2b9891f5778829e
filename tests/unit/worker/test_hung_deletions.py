"""A Job whose deletion does not end keeps neither its run nor a slot: finalizers, lost nodes."""

from __future__ import annotations

import pytest

from deployctl.api.states import FINAL
from deployctl.jobs.model import Limits
from deployctl.worker.control.slots import count_live_jobs
from deployctl.worker.model import NO_LIMITS, Cause, Job, Phase
from tests.unit.worker.simulation import Simulation

STUCK = Cause("ImagePull", "the image is not there", stuck=True)
OOM = Cause("OutOfMemory", "it used more memory than its limit")


def with_hanging_job(major: int, limits: Limits = NO_LIMITS) -> tuple[Simulation, Job]:
    """A run whose Job's deletion will hang."""
    simulation = Simulation(major, 1, 2, polite=True, retries=1, limits=limits)
    simulation.run_workers()
    [job] = simulation.cluster.jobs.values()
    simulation.hang(job)
    return simulation, job


def current(simulation: Simulation) -> Job:
    [job] = simulation.cluster.jobs.values()
    return job


def state(simulation: Simulation) -> tuple[str, str]:
    found = simulation.server.rows[simulation.runs[0]]["state"]
    return found["type"], found["message"]


def slots(simulation: Simulation) -> int:
    worker = simulation.workers[0]
    return count_live_jobs(worker.store, "worker-0", simulation.clock.now - 30.0)


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("events", [(), ("retry",), ("retry", "wake"), ("pause",)])
def test_a_run_whose_job_was_deleted_by_hand_crashes_after_the_deadline(
    events: tuple[str, ...], major: int
) -> None:
    simulation, job = with_hanging_job(major)
    for event in ("begin", *events):
        simulation.job(0, event)
    simulation.cluster.delete(job.name)
    simulation.wait(55)
    simulation.run_workers()
    assert state(simulation)[0] not in FINAL
    assert slots(simulation) == 1
    simulation.settle()
    kind, message = state(simulation)
    assert (kind, "has not ended within its grace period" in message) == ("CRASHED", True)
    assert slots(simulation) == 0
    assert simulation.unsettled() == []


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("starts", [True, False])
def test_a_cancelled_run_whose_job_does_not_go_is_cancelled(starts: bool, major: int) -> None:
    simulation, _ = with_hanging_job(major)
    if starts:
        simulation.job(0, "begin")
    simulation.user(0, "CANCELLING", "Cancelling")
    simulation.settle()
    assert current(simulation).deleting
    assert state(simulation)[0] == "CANCELLED"
    assert slots(simulation) == 0


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("starts", [True, False])
def test_a_job_that_exceeds_its_time_and_does_not_go_ends_its_run(starts: bool, major: int) -> None:
    limits = Limits(start_timeout=60, run_timeout=600)
    simulation, job = with_hanging_job(major, limits)
    simulation.stall(job, STUCK)
    if starts:
        simulation.begin(job)
        simulation.wait(601)
    for _ in range(2):
        simulation.settle()
    kind, message = state(simulation)
    reason = "ran longer than 600 seconds" if starts else "did not start within 60 seconds"
    assert (kind, reason in message) == ("CRASHED", True)


@pytest.mark.parametrize("major", [2, 3])
def test_a_job_that_ended_is_reported_with_its_cause_while_a_finalizer_keeps_it(major: int) -> None:
    simulation, job = with_hanging_job(major)
    simulation.begin(job)
    simulation.run_workers()
    simulation.stall(current(simulation), OOM)
    simulation.fail(current(simulation))
    simulation.cluster.delete(job.name)
    simulation.run_workers()
    kind, message = state(simulation)
    assert (kind, OOM.message in message) == ("CRASHED", True)
    assert simulation.cluster.tailed == [job.attempt]


def test_a_run_is_claimed_again_although_the_old_job_does_not_go() -> None:
    simulation, job = with_hanging_job(3)
    simulation.user(0, "CANCELLING", "Cancelling")
    simulation.settle()
    simulation.user(0, "SCHEDULED", "Scheduled")
    simulation.settle()
    assert len(simulation.cluster.created) == 2
    [new] = [each for each in simulation.cluster.jobs.values() if each.name != job.name]
    assert new.phase is Phase.WAITING


def test_a_cancelled_run_whose_job_cannot_be_deleted_may_be_scheduled_again() -> None:
    simulation = Simulation(3, runs=1, workers=1, polite=True)
    simulation.run_workers()
    simulation.job(0, "begin")
    simulation.run_workers()
    simulation.job(0, "hang")
    simulation.user(0, "CANCELLED", "Cancelled")
    simulation.settle()
    simulation.user(0, "SCHEDULED", "AwaitingRetry")
    simulation.settle()
    assert simulation.server.type_of(simulation.runs[0]) == "PENDING"
    assert len(simulation.cluster.created) == 2
