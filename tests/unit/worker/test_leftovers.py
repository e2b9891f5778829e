"""What was made for a job that never came goes when its run is cancelled."""

from __future__ import annotations

import pytest

from tests.unit.worker.simulated_worker import Fault
from tests.unit.worker.simulation import World


def a_start_that(fault: Fault, major: int) -> World:
    """A run that is claimed, and this befalls the creation of its job."""
    world = World(major, runs=1, workers=1, polite=True)
    for deed in ("listen", "poll", "sync", "step", "act", "step"):
        world.worker(0, deed, ())
    world.worker(0, "act", (None, None, fault))
    return world


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("fault", [Fault.UNHEARD, Fault.UNANSWERED, Fault.DEATH_BEFORE])
def test_nothing_is_left_of_a_job_that_was_not_created(fault: Fault, major: int) -> None:
    world = a_start_that(fault, major)

    world.do(("user", 0, "CANCELLING", "Cancelling"))
    world.settle()

    assert world.server.type_of(world.runs[0]) == "CANCELLED"
    assert world.cluster.leftovers == set()
    assert world.unsettled() == []


def test_a_cancelled_run_that_cannot_be_described_is_cancelled_all_the_same() -> None:
    world = a_start_that(Fault.UNHEARD, 3)
    world.do(("user", 0, "CANCELLING", "Cancelling"))
    world.wait(30)
    for deed in ("listen", "sync", "step", "act", "step"):
        world.worker(0, deed, ())
    world.worker(0, "act", (None, None, Fault.MISSING))

    assert world.server.type_of(world.runs[0]) == "CANCELLED"


def test_a_job_that_came_after_all_is_removed_before_its_run_is_cancelled() -> None:
    world = a_start_that(Fault.UNANSWERED, 3)
    world.do(("user", 0, "CANCELLING", "Cancelling"))
    world.wait(30)
    world.calm()

    assert [job.deleting for job in world.cluster.jobs.values()] == [True]
    world.settle()
    assert world.server.type_of(world.runs[0]) == "CANCELLED"
