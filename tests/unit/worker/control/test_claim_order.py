"""In which order replicas that are offered the same runs claim them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployctl.worker.control.claim_order import MAX_IN_FLIGHT, ClaimOrder
from deployctl.worker.model import Run
from tests.unit.worker.simulation import Simulation

DUE = [Run(f"r{n}", "fox", "s", "SCHEDULED", "Scheduled", 0.0, "d", "f") for n in range(200)]
ORDERS = [ClaimOrder(salt=bytes([number])) for number in range(10)]


def test_claims_in_the_order_of_the_server_while_no_other_worker_is_seen() -> None:
    assert ClaimOrder().sort(DUE, None, 100.0) == DUE


def test_replicas_that_have_lost_a_claim_begin_with_different_runs() -> None:
    for order in ORDERS:
        order.lose(100.0)
    firsts = [order.sort(DUE, None, 101.0)[0].id for order in ORDERS]
    assert len(set(firsts)) > len(firsts) / 2


def test_the_order_of_a_worker_is_the_same_for_each_offer() -> None:
    ORDERS[0].lose(100.0)
    assert ORDERS[0].sort(DUE, None, 101.0) == ORDERS[0].sort(DUE, None, 102.0)


@pytest.mark.parametrize(("slots", "farthest"), [(None, 8 * MAX_IN_FLIGHT), (1, 8), (50, 128)])
def test_a_run_is_overtaken_only_by_some_that_follow(slots: int | None, farthest: int) -> None:
    """A run of an urgent queue that waits for the only slot must not wait for all others."""
    order = ClaimOrder()
    order.lose(100.0)
    found = order.sort(DUE, slots, 101.0)
    assert found != DUE
    assert all(abs(found.index(run) - place) <= farthest for place, run in enumerate(DUE))


def test_no_run_is_overtaken_by_one_of_a_less_urgent_queue() -> None:
    order = ClaimOrder()
    order.lose(100.0)
    due = [replace(run, queue="urgent" if n < 50 else "other") for n, run in enumerate(DUE)]
    found = order.sort(due, 1, 101.0)
    assert found != due
    assert {run.queue for run in found[:50]} == {"urgent"}
    assert sorted(run.id for run in found) == sorted(run.id for run in due)


def test_the_order_is_that_of_the_server_again_after_a_while() -> None:
    order = ClaimOrder()
    order.lose(100.0)
    assert order.at_once(101.0) < order.at_once(200.0) == MAX_IN_FLIGHT
    assert order.sort(DUE, None, 200.0) == DUE


@pytest.mark.parametrize("fresh", [True, False])
def test_a_worker_notices_that_another_one_has_claimed_a_run(fresh: bool) -> None:
    """With a fresh offer by the answer to its claim, otherwise by reading the run before."""
    simulation = Simulation(3, runs=1, workers=2, polite=True)
    first, second = simulation.workers
    second.poll()
    first.run_all()
    if not fresh:
        simulation.wait(5)
    proposals = simulation.server.proposals
    second.reconcile()
    second.execute_one()
    second.reconcile()
    assert simulation.server.proposals == proposals + fresh
    assert second.store.due == []
    assert second.store.claim_order.at_once(simulation.clock.now) < MAX_IN_FLIGHT
    assert not simulation.violations


def test_a_worker_that_shares_runs_has_few_claims_in_flight() -> None:
    simulation = Simulation(3, runs=40, workers=1, polite=True)
    worker = simulation.workers[0]
    worker.store.claim_order.lose(simulation.clock.now)
    worker.poll()
    worker.reconcile()
    claiming = len(worker.store.in_flight)
    assert 0 < claiming == worker.store.claim_order.at_once(simulation.clock.now)
    assert worker.reconciler.claims_wait == 40 - claiming
