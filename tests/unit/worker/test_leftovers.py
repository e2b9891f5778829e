"""What a worker that was killed leaves: claims without Jobs, and parts of unfinished starts."""

from __future__ import annotations

import pytest

from deployctl.jobs.model import JobSpec
from deployctl.worker.model import Cause, Job, StartFailed
from tests.unit.worker.fault_injection import Fault
from tests.unit.worker.simulated_cluster import SimulatedRuntime
from tests.unit.worker.simulation import Simulation

STEPS = ("deliver_updates", "sync", "reconcile", "execute_one", "reconcile")


def start_with(fault: Fault, major: int) -> Simulation:
    """A claimed run; the creation of its Job has this fault."""
    simulation = Simulation(major, runs=1, workers=1, polite=True)
    for step in ("deliver_updates", "poll", "sync", "reconcile", "execute_one", "reconcile"):
        simulation.worker(0, step, ())
    simulation.worker(0, "execute_one", (None, None, fault))
    return simulation


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("fault", [Fault.NOT_RECEIVED, Fault.RESPONSE_LOST, Fault.CRASH_BEFORE])
def test_nothing_is_left_of_a_job_that_was_not_created(fault: Fault, major: int) -> None:
    simulation = start_with(fault, major)

    simulation.do(("user", 0, "CANCELLING", "Cancelling"))
    simulation.settle()

    assert simulation.server.type_of(simulation.runs[0]) == "CANCELLED"
    assert simulation.cluster.leftovers == set()
    assert simulation.unsettled() == []


def test_cancels_a_run_whose_job_spec_cannot_be_built() -> None:
    simulation = start_with(Fault.NOT_RECEIVED, 3)
    simulation.do(("user", 0, "CANCELLING", "Cancelling"))
    simulation.wait(30)
    for step in STEPS:
        simulation.worker(0, step, ())
    simulation.worker(0, "execute_one", (None, None, Fault.NOT_FOUND))

    assert simulation.server.type_of(simulation.runs[0]) == "CANCELLED"


def test_deletes_a_job_that_was_created_unnoticed_before_its_run_is_cancelled() -> None:
    simulation = start_with(Fault.RESPONSE_LOST, 3)
    simulation.do(("user", 0, "CANCELLING", "Cancelling"))
    simulation.wait(30)
    simulation.run_workers()

    assert [job.deleting for job in simulation.cluster.jobs.values()] == [True]
    simulation.settle()
    assert simulation.server.type_of(simulation.runs[0]) == "CANCELLED"


@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_next_process_of_a_worker_takes_up_its_claims_at_once(fault: Fault) -> None:
    """Without being the leader, and without a second Job."""
    simulation = Simulation(3, runs=1, workers=2, polite=True)
    for step in ("deliver_updates", "poll", "sync", "reconcile", "execute_one", "reconcile"):
        simulation.worker(1, step, ())
    simulation.worker(1, "execute_one", (None, None, fault))
    simulation.worker(1, "run_all", ())

    assert simulation.server.type_of(simulation.runs[0]) == "PENDING"
    assert len(simulation.cluster.jobs) == 1
    simulation.settle()
    assert simulation.unsettled() == []


def test_nothing_is_left_of_a_job_that_was_refused_for_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Meanwhile, what other workers may need to create it is kept."""
    simulation = Simulation(3, runs=1, workers=1, polite=True)
    kept: list[bool] = []

    def refuse(runtime: SimulatedRuntime, spec: JobSpec) -> Job:
        kept.append(spec.name in runtime.cluster.leftovers)
        runtime.cluster.prepare(spec.name)
        raise StartFailed(Cause("Quota", "The quota is used up"), retry_for=100.0)

    monkeypatch.setattr(SimulatedRuntime, "start", refuse)
    simulation.settle()
    assert simulation.server.type_of(simulation.runs[0]) == "CRASHED"
    assert kept[0] is False
    assert all(kept[1:])
    assert len(kept) > 2
    assert simulation.cluster.leftovers == set()
