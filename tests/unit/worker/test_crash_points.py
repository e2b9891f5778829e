"""No order of faults, deaths and other people's deeds loses a run, doubles one or takes a foreign.

`DEPLOYCTL_EXAMPLES=50` tries fifty times as many orders, and other ones each time.
"""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from deployctl.api.states import FINAL
from tests.unit.worker.simulated_worker import Event, Fault, Meanwhile
from tests.unit.worker.simulation import World

MORE = int(os.environ.get("DEPLOYCTL_EXAMPLES", "1"))
thorough = settings(max_examples=200 * MORE)

small = st.integers(0, 2)
DEEDS = st.sampled_from(["turn", "turn", "poll", "sync", "listen", "step", "act", "act", "relist"])


def an(deed: str, *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Event]:
    return st.tuples(st.just(deed), *arguments)


progress = st.one_of(
    an("worker", small, DEEDS, st.just(())),
    an("job", small, st.sampled_from(["begin", "finish", "exit", "fail", "vanish"])),
    an("wait", st.sampled_from([1, 20, 70])),
    an("rename", small),
    an("user", small, st.just("CANCELLING"), st.just("Cancelling")),
)
befalls = st.one_of(
    st.none(), st.sampled_from(Fault), st.lists(progress, min_size=1, max_size=3).map(Meanwhile)
)
one_request = st.builds(lambda number, what: (None,) * number + (what,), st.integers(0, 5), befalls)
anything = st.one_of(
    progress,
    an("calm"),
    an("worker", small, st.just("turn"), one_request),
    an("worker", small, DEEDS, st.lists(befalls, max_size=6)),
    an("user", small, st.just("SCHEDULED"), st.just("AwaitingRetry")),
    an("user", small, st.just("CANCELLED"), st.just("Cancelled")),
    an("stranger", small),
    an("restart", small),
    an("elect", small),
    an("rename", small),
    an("delete", small),
)
events = st.lists(anything, min_size=3, max_size=40)


def play(world: World, events: list[Event]) -> None:
    """Lets all this happen, then ends all faults, then lets all jobs do well."""
    for event in events:
        world.do(event)
    world.settle()
    assert world.unsettled() == []
    for _ in range(3):
        for deed in ("begin", "finish"):
            for job in list(world.cluster.jobs.values()):
                getattr(world, deed)(job)
        world.settle()
    ours = [run for run in world.server.rows if world.attempt_of(run)]
    assert {world.server.type_of(run) for run in ours} <= set(FINAL)
    assert world.cluster.doubled == []


@given(st.integers(2, 3), st.integers(1, 3), st.integers(1, 2), events)
@thorough
def test_every_run_is_worked_off_once(
    major: int, runs: int, workers: int, events: list[Event]
) -> None:
    world = World(major, runs, workers, polite=True)
    play(world, events)
    assert world.violations == []


@given(st.integers(2, 3), st.integers(1, 3), st.integers(1, 2), events)
@thorough
def test_every_run_comes_to_an_end_whatever_people_do(
    major: int, runs: int, workers: int, events: list[Event]
) -> None:
    play(World(major, runs, workers, polite=False), events)
