"""No order of faults, crashes and foreign events loses a run, runs it twice or takes a foreign one.

`DEPLOYCTL_EXAMPLES=50` tries fifty times as many orders, and others each time.
"""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from deployctl.api.states import FINAL
from deployctl.jobs.model import Limits
from deployctl.worker.model import NO_LIMITS
from tests.unit.worker.fault_injection import Event, Fault, Meanwhile
from tests.unit.worker.simulation import Simulation

FACTOR = int(os.environ.get("DEPLOYCTL_EXAMPLES", "1"))
thorough = settings(max_examples=200 * FACTOR)

small = st.integers(0, 2)
LIMITS = st.sampled_from([NO_LIMITS, Limits(start_timeout=60, run_timeout=300)])
STEPS = st.sampled_from(
    [
        "run_all",
        "run_all",
        "poll",
        "sync",
        "deliver_updates",
        "reconcile",
        "execute_one",
        "execute_one",
        "relist",
    ]
)


JOB_EVENTS = (
    "begin",
    "finish",
    "exit",
    "fail",
    "vanish",
    "retry",
    "wake",
    "pause",
    "suspend",
    "terminate",
    "hang",
    "stall",
)


def event(method: str, *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Event]:
    return st.tuples(st.just(method), *arguments)


progress = st.one_of(
    event("worker", small, STEPS, st.just(())),
    event("job", small, st.sampled_from(JOB_EVENTS)),
    event("wait", st.sampled_from([1, 20, 70])),
    event("rename", small),
    event("resume", small),
    event("user", small, st.just("CANCELLING"), st.just("Cancelling")),
)
injection = st.one_of(
    st.none(), st.sampled_from(Fault), st.lists(progress, min_size=1, max_size=3).map(Meanwhile)
)
one_request = st.builds(
    lambda number, injected: (None,) * number + (injected,), st.integers(0, 5), injection
)
any_event = st.one_of(
    progress,
    event("run_workers"),
    event("worker", small, st.just("run_all"), one_request),
    event("worker", small, STEPS, st.lists(injection, max_size=6)),
    event("user", small, st.just("SCHEDULED"), st.just("AwaitingRetry")),
    event("user", small, st.just("CANCELLED"), st.just("Cancelled")),
    event("foreign_worker", small),
    event("restart", small),
    event("elect", small),
    event("rename", small),
    event("delete", small),
    event("move", st.sampled_from(["own", "other"])),
    event("refuse", st.sampled_from(["own", "other"])),
    event("allow"),
)
event_lists = st.lists(any_event, min_size=3, max_size=40)


def play(simulation: Simulation, events: list[Event]) -> None:
    """Let all events happen, then end all faults, then let all Jobs succeed."""
    for each in events:
        simulation.do(each)
    simulation.settle()
    assert simulation.unsettled() == []
    for _ in range(3):
        for number in range(len(simulation.runs)):
            simulation.resume(number)
        for method in ("begin", "wake", "finish"):
            for job in list(simulation.cluster.jobs.values()):
                getattr(simulation, method)(job)
        simulation.settle()
    ours = [run for run in simulation.server.rows if simulation.attempt_of(run)]
    assert {simulation.server.type_of(run) for run in ours} <= set(FINAL)
    assert simulation.cluster.duplicates == []


@given(st.integers(2, 3), st.integers(1, 3), st.integers(1, 2), LIMITS, event_lists)
@thorough
def test_every_run_is_executed_once(
    major: int, runs: int, workers: int, limits: Limits, events: list[Event]
) -> None:
    simulation = Simulation(major, runs, workers, polite=True, retries=1, limits=limits)
    play(simulation, events)
    assert simulation.violations == []


@given(st.integers(2, 3), st.integers(1, 3), st.integers(1, 2), LIMITS, event_lists)
@thorough
def test_every_run_ends_whatever_users_do(
    major: int, runs: int, workers: int, limits: Limits, events: list[Event]
) -> None:
    play(Simulation(major, runs, workers, polite=False, retries=1, limits=limits), events)
