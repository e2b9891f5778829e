"""How often a leader compares all runs with their Jobs when there are thousands."""

from __future__ import annotations

import pytest

from deployctl.worker.model import Job, Phase, Run
from tests.unit.worker.simulation import Simulation


@pytest.mark.parametrize(("count", "steps"), [(100, 10), (5000, 2)])
def test_a_leader_compares_many_runs_with_their_jobs_at_intervals(count: int, steps: int) -> None:
    """In ten steps within 0.18 s: all of them, or two."""
    simulation = Simulation(3, runs=0, workers=1, polite=True)
    worker, now = simulation.workers[0], simulation.clock.now
    worker.store.sync([], [a_run(number, now) for number in range(count)], now)
    worker.store.jobs = {job.attempt: job for job in map(a_job, range(count))}
    worker.deliver_updates()
    worker.store.jobs = {job.attempt: job for job in map(a_job, range(count))}
    observed = 0
    for _ in range(10):
        worker.reconcile()
        observed += worker.reconciler._observes
        simulation.wait(0.02)
    assert observed == steps


def test_a_worker_that_leads_no_longer_waits_between_its_steps() -> None:
    simulation = Simulation(3, runs=0, workers=1, polite=True)
    worker, now = simulation.workers[0], simulation.clock.now
    worker.store.sync([], [a_run(number, now) for number in range(5000)], now)
    for _ in range(2):
        worker.reconcile()
    assert not worker.reconciler._observes
    worker.leadership.is_leader = False
    simulation.wait(60)
    assert worker.reconciler._longest_wait() == worker.reconciler.timings.tick


def test_runs_become_due_and_are_claimed_between_two_comparisons() -> None:
    simulation = Simulation(3, runs=1, workers=1, polite=True)
    worker, now = simulation.workers[0], simulation.clock.now
    worker.store.sync([], [a_run(number, now) for number in range(5000)], now)
    worker.reconcile()
    worker.poll()
    worker.reconcile()
    assert not worker.reconciler._observes
    assert worker.store.in_flight == set(simulation.runs)


def a_run(number: int, now: float) -> Run:
    attempt = f"a{number}"
    return Run(attempt, "fox", "s", "RUNNING", "Running", now, "d", "f", pid="p", attempt=attempt)


def a_job(number: int) -> Job:
    attempt = f"a{number}"
    return Job(attempt, attempt, attempt, "own", "p", "worker", Phase.RUNNING, 0.0, started=True)
