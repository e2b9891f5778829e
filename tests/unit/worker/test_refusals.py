"""Refused proposals, and claims that others take over, never leave a worker busy."""

from __future__ import annotations

import pytest

from deployctl.jobs.model import Limits
from deployctl.worker.control.slots import count_live_jobs
from deployctl.worker.model import Cause
from tests.unit.worker.fault_injection import Fault
from tests.unit.worker.simulation import Simulation

STUCK = Cause("ImagePull", "the image is not there", stuck=True)
STEPS = ("deliver_updates", "poll", "sync", "reconcile", "execute_one", "reconcile")


@pytest.mark.parametrize("major", [2, 3])
def test_a_run_that_is_cancelled_while_its_stuck_job_is_deleted_becomes_cancelled(
    major: int,
) -> None:
    limits = Limits(start_timeout=60)
    simulation = Simulation(major, runs=1, workers=1, polite=True, limits=limits)
    simulation.run_workers()
    [job] = simulation.cluster.jobs.values()
    simulation.stall(job, STUCK)
    simulation.wait(61)
    simulation.run_workers()
    [job] = simulation.cluster.jobs.values()
    assert job.deleting

    simulation.user(0, "CANCELLING", "Cancelling")
    simulation.vanish(job)
    worker = simulation.workers[0]
    worker.deliver_updates()
    worker.reconcile()
    for _ in range(20):  # no sync, no time: a loop without a pause would not end by itself
        worker.execute_one()
        worker.reconcile()
    assert simulation.server.proposals <= 4
    simulation.settle()
    assert simulation.server.type_of(simulation.runs[0]) == "CANCELLED"


@pytest.mark.parametrize("major", [2, 3])
def test_a_refused_proposal_is_repeated_after_a_pause(major: int) -> None:
    simulation = Simulation(major, runs=1, workers=1, polite=True)
    simulation.run_workers()
    simulation.job(0, "begin")
    simulation.run_workers()
    simulation.job(0, "fail")
    simulation.server.refused.add(simulation.runs[0])
    before = simulation.server.proposals
    worker = simulation.workers[0]
    worker.deliver_updates()
    worker.reconcile()
    for _ in range(20):
        worker.execute_one()
        worker.reconcile()
    assert simulation.server.proposals == before + 1
    simulation.settle()
    assert before + 3 < simulation.server.proposals < before + 15
    simulation.server.refused.clear()
    simulation.settle()
    assert simulation.server.type_of(simulation.runs[0]) == "CRASHED"


@pytest.mark.parametrize("major", [2, 3])
def test_a_run_that_waits_for_a_concurrency_slot_is_claimed_once_there_is_one(major: int) -> None:
    simulation = Simulation(major, runs=1, workers=2, polite=True)
    simulation.server.refused.update(simulation.runs)
    simulation.settle()
    assert simulation.cluster.created == []
    simulation.server.refused.clear()
    simulation.settle()
    assert len(simulation.cluster.created) == 1


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("number", [0, 1])
def test_a_claim_that_another_owner_takes_over_takes_no_slot(number: int, major: int) -> None:
    """The worker cannot create the Job; meanwhile the run is scheduled again and claimed."""
    simulation = Simulation(major, runs=1, workers=1, polite=False)
    for step in STEPS:
        simulation.worker(0, step, ())
    simulation.worker(0, "execute_one", (None, Fault.NOT_RECEIVED))
    simulation.user(0, "SCHEDULED", "Scheduled")
    simulation.foreign_worker(number)
    simulation.settle()
    [worker] = simulation.workers
    assert simulation.server.type_of(simulation.runs[0]) == "PENDING"
    assert worker.reconciler.is_idle
    assert count_live_jobs(worker.store, "worker-0") == 0
    assert simulation.cluster.created == []
