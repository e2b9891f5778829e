"""Replicas under load in virtual time: nothing is lost or doubled, and requests do not multiply."""

from __future__ import annotations

from functools import cache

import pytest

from scripts.simulate import HEAD, row
from tests.unit.worker.scale_simulation import Figures, Load, ScaleSimulation


@cache
def simulate(replicas: int, runs_per_hour: float, burst: int = 0, live: float = 5.0) -> Figures:
    load = Load(
        replicas,
        runs_per_hour,
        burst=burst,
        seconds=30.0,
        run_seconds=live,
        server_processes=8,
        charge_cpu=False,
    )
    return ScaleSimulation(load).play()


@pytest.mark.parametrize("replicas", [1, 4, 8])
@pytest.mark.parametrize(("rate", "burst"), [(10_000, 0), (0, 80)])
def test_nothing_is_lost_or_run_twice(replicas: int, rate: int, burst: int) -> None:
    figures = simulate(replicas, rate, burst)
    assert figures.runs == len(figures.delays) > 50
    assert figures.lost == 0
    assert figures.violations == []


def test_requests_per_run_do_not_grow_with_replicas() -> None:
    """Twice as many polls, because there are regular ones of each replica, and few claims lost."""
    one, many = simulate(1, 10_000), simulate(8, 10_000)
    assert many.requests_per_run < 2 * one.requests_per_run
    assert many.lost_claims < many.runs / 10


def test_replicas_that_meet_lose_few_claims() -> None:
    """Each one sends its first claims before it knows of others."""
    one, many = simulate(1, 0, 80), simulate(4, 0, 80)
    assert many.requests_per_run < 3 * one.requests_per_run


def test_requests_per_run_do_not_grow_with_live_jobs() -> None:
    few, many = simulate(1, 10_000), simulate(1, 10_000, 0, 60)
    assert many.most_jobs > 2 * few.most_jobs
    assert many.requests_per_run < 1.5 * few.requests_per_run


def test_a_simulation_is_a_row_of_the_table() -> None:
    assert row(simulate(1, 10_000)).count("|") == HEAD.splitlines()[0].count("|")
