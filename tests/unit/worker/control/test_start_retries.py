"""A failed start is retried only for a run that still waits for it."""

from __future__ import annotations

import pytest

from tests.unit.worker.fault_injection import Fault
from tests.unit.worker.simulation import Simulation


def start_without_response() -> Simulation:
    """A run whose Job was created, while its worker never got the response."""
    simulation = Simulation(3, runs=1, workers=1, polite=True)
    for step in ("deliver_updates", "poll", "sync", "reconcile", "execute_one", "reconcile"):
        simulation.worker(0, step, ())
    simulation.worker(0, "execute_one", (None, None, Fault.RESPONSE_LOST))
    return simulation


def retry(simulation: Simulation) -> None:
    """The watch of Jobs was broken, too: they are listed again when the retry is due."""
    simulation.wait(5)
    for step in ("relist", "reconcile", "execute_one"):
        simulation.worker(0, step, ())


def test_a_job_that_has_run_and_is_gone_by_its_ttl_is_not_created_again() -> None:
    simulation = start_without_response()
    for event in ("begin", "finish", "vanish"):
        simulation.job(0, event)
    retry(simulation)

    assert len(simulation.cluster.created) == 1
    assert simulation.cluster.duplicates == []


@pytest.mark.parametrize("is_leader", [True, False])
def test_a_run_that_was_cancelled_before_the_retry_gets_no_job(is_leader: bool) -> None:
    simulation = start_without_response()
    simulation.job(0, "vanish")
    simulation.workers[0].leadership.is_leader = is_leader
    simulation.do(("user", 0, "CANCELLED", "Cancelled"))
    simulation.worker(0, "sync", ())
    retry(simulation)

    assert simulation.cluster.jobs == {}
