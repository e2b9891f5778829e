"""No worker has more live Jobs than its `--limit`, also just after its start (Guarantee 16)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.fault_injection import Event, Fault, Injection
from tests.unit.worker.simulation import Simulation
from tests.unit.worker.test_crash_points import any_event, thorough

START = ("deliver_updates", "poll", "reconcile")
events_in_own_namespace = any_event.filter(lambda event: event[0] not in ("move", "refuse"))


def steps(*names: str, worker: int = 0) -> list[Event]:
    return [("worker", worker, name, ()) for name in names]


def one(*injections: Injection) -> Event:
    return "worker", 0, "execute_one", injections


@pytest.mark.parametrize("major", [2, 3])
def test_claims_of_an_earlier_process_take_slots_before_they_have_been_read(major: int) -> None:
    simulation = Simulation(major, runs=2, workers=1, polite=True, limit=1)
    for event in [
        *steps(*START, "sync", "reconcile"),
        one(Fault.CRASH_AFTER),
        *steps(*START, "execute_one", "reconcile", "sync", "run_all"),
    ]:
        simulation.do(event)
    assert len(simulation.cluster.jobs) == 1
    assert simulation.cluster.over_limit == []


@pytest.mark.parametrize("leader", [0, 1])
@pytest.mark.parametrize("major", [2, 3])
def test_a_job_takes_a_slot_that_started_its_run_before_it_was_seen(
    major: int, leader: int
) -> None:
    simulation = Simulation(major, runs=2, workers=2, polite=True, limit=1)
    simulation.elect(leader)
    for event in [
        *steps(*START, "sync", "reconcile", "execute_one", "reconcile"),
        one(None, None, Fault.RESPONSE_LOST),
        ("job", 0, "begin"),
        *steps("poll", "sync", *["reconcile", "execute_one"] * 4),
    ]:
        simulation.do(event)
    assert len(simulation.cluster.jobs) == 1
    assert simulation.cluster.over_limit == []


@pytest.mark.parametrize("first", ["deliver_updates", "sync"])
@pytest.mark.parametrize("major", [2, 3])
def test_claims_of_an_earlier_process_above_the_limit_wait_for_the_jobs(
    major: int, first: str
) -> None:
    """The answer to one of its claims was lost, so that it claimed another run instead."""
    simulation = Simulation(major, runs=2, workers=1, polite=True, limit=1)
    for event in [
        *steps(*START, "sync", "reconcile"),
        one(Fault.RESPONSE_LOST),
        *steps("poll", *["reconcile", "execute_one"] * 2),
        ("restart", 0),
        *steps(first, "sync", "poll", "reconcile", "execute_one"),
        *steps("deliver_updates", *["reconcile", "execute_one"] * 3),
    ]:
        simulation.do(event)
    assert len(simulation.cluster.jobs) == 1
    for job_event in ("begin", "finish"):
        simulation.do(("job", 0, job_event))
    simulation.do(("worker", 0, "run_all", ()))
    assert len(simulation.cluster.created) == 2
    assert simulation.cluster.over_limit == []


@pytest.mark.parametrize(
    "after",
    [("CANCELLED", "Cancelled"), ("COMPLETED", "Completed"), ("SCHEDULED", "AwaitingRetry")],
)
@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("major", [2, 3])
def test_a_job_takes_a_slot_whose_run_ended_before_it_was_seen(
    major: int, seen: bool, after: tuple[str, str]
) -> None:
    """The answer to its creation was lost, and its pod has not ended yet."""
    simulation = Simulation(major, runs=2, workers=1, polite=False, limit=1)
    for event in [
        *steps(*START, "sync", "reconcile", "execute_one", "reconcile"),
        one(None, None, Fault.RESPONSE_LOST),
        ("job", 0, "begin"),
        ("user", 0, *after),
        ("wait", 20),
        *(steps("deliver_updates") if seen else []),
        *steps("reconcile", "execute_one", "poll", "sync", *["reconcile", "execute_one"] * 4),
    ]:
        simulation.do(event)
    assert len(simulation.cluster.jobs) == 1
    simulation.do(("job", 0, "fail"))
    simulation.do(("worker", 0, "run_all", ()))
    assert len(simulation.cluster.jobs) == 2
    assert simulation.cluster.over_limit == []


@given(
    st.integers(2, 3),
    st.integers(1, 2),
    st.integers(1, 2),
    st.lists(events_in_own_namespace, min_size=3, max_size=40),
)
@thorough
def test_no_worker_has_more_jobs_than_its_limit(
    major: int, limit: int, workers: int, events: list[Event]
) -> None:
    simulation = Simulation(major, 4, workers, polite=True, retries=1, limit=limit)
    for event in events:
        simulation.do(event)
    assert simulation.cluster.over_limit == []
