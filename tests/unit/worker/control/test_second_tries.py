"""A start that failed is tried again only for a run that still waits for it."""

from __future__ import annotations

import pytest

from tests.unit.worker.simulated_worker import Fault
from tests.unit.worker.simulation import World


def a_start_without_answer() -> World:
    """A run whose job was created, which nobody told its worker."""
    world = World(3, runs=1, workers=1, polite=True)
    for deed in ("listen", "poll", "sync", "step", "act", "step"):
        world.worker(0, deed, ())
    world.worker(0, "act", (None, None, Fault.UNANSWERED))
    return world


def try_again(world: World) -> None:
    """The watch of jobs was broken, too: they are listed anew, when it is time for a second try."""
    world.wait(5)
    for deed in ("relist", "step", "act"):
        world.worker(0, deed, ())


def test_a_job_that_has_run_and_is_gone_by_its_ttl_is_not_created_again() -> None:
    world = a_start_without_answer()
    for deed in ("begin", "finish", "vanish"):
        world.job(0, deed)
    try_again(world)

    assert len(world.cluster.created) == 1
    assert world.cluster.doubled == []


@pytest.mark.parametrize("is_leader", [True, False])
def test_a_run_that_was_cancelled_meanwhile_gets_no_job(is_leader: bool) -> None:
    world = a_start_without_answer()
    world.job(0, "vanish")
    world.workers[0].is_leader = is_leader
    world.do(("user", 0, "CANCELLED", "Cancelled"))
    world.worker(0, "sync", ())
    try_again(world)

    assert world.cluster.jobs == {}
