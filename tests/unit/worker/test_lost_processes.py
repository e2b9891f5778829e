"""A run whose process was to take its next step, and is gone, ends with the cause."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

import pytest

from deployctl.worker.model import Cause, Job, Phase
from tests.unit.worker.simulation import Simulation

Loss: TypeAlias = Callable[[Simulation, Job], None]


def fails(code: str) -> Loss:
    """The Job fails with this cause."""

    def lose(simulation: Simulation, job: Job) -> None:
        cause = Cause(code, f"because of {code}")
        now = simulation.clock.now
        simulation.cluster.put(replace(job, phase=Phase.FAILED, since=now, cause=cause))

    return lose


LOSSES: Mapping[str, tuple[Loss, str]] = {
    "kubernetes: killed": (fails("Killed"), "because of Killed"),
    "kubernetes: out of memory": (fails("OutOfMemory"), "because of OutOfMemory"),
    "kubernetes: evicted, no SIGTERM handler": (fails("Evicted"), "because of Evicted"),
    "kubernetes: node lost": (fails("NodeLost"), "because of NodeLost"),
    "kubernetes: image gone at the second pod": (fails("ImagePull"), "because of ImagePull"),
    "kubernetes: Job deleted by hand": (Simulation.vanish, "is gone"),
    "docker: killed": (fails("Killed"), "because of Killed"),
    "docker: out of memory": (fails("OutOfMemory"), "because of OutOfMemory"),
    "docker: container removed": (Simulation.vanish, "is gone"),
    "process: killed": (fails("Killed"), "because of Killed"),
    "process: machine rebooted": (fails("Lost"), "because of Lost"),
    "process: folder removed": (Simulation.vanish, "is gone"),
}
WAITS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "running": ((), ""),
    "retry delay": (("retry",), "waiting for a retry"),
    "second run": (("retry", "wake"), ""),
    "pause": (("pause",), "paused"),
    "pause of a retry": (("retry", "wake", "pause"), "paused"),
}


def in_state(major: int, events: tuple[str, ...]) -> tuple[Simulation, Job]:
    """A run of ours after these events of its process, and its Job."""
    simulation = Simulation(major, runs=1, workers=1, polite=True, retries=1)
    simulation.run_workers()
    for event in ("begin", *events):
        simulation.job(0, event)
        simulation.run_workers()
    [job] = simulation.cluster.jobs.values()
    return simulation, job


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_run_without_its_process_crashes(loss: str, wait: str, major: int) -> None:
    lose, cause = LOSSES[loss]
    events, step = WAITS[wait]
    simulation, job = in_state(major, events)
    lose(simulation, job)
    simulation.settle()

    [run] = simulation.runs
    state = simulation.server.rows[run]["state"]
    assert state["type"] == "CRASHED"
    assert cause in state["message"]
    assert step in state["message"]
    there = lose is not Simulation.vanish
    assert simulation.cluster.tailed == ([job.attempt] if there else [])
    assert len(simulation.cluster.created) == 1


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_cancellation_without_its_process_ends(loss: str, wait: str, major: int) -> None:
    simulation, job = in_state(major, WAITS[wait][0])
    simulation.user(0, "CANCELLING", "Cancelling")
    LOSSES[loss][0](simulation, job)
    simulation.settle()
    refused = (major, wait.partition(" ")[0]) == (2, "pause")  # a paused run cannot be cancelled
    [run] = simulation.runs
    assert simulation.server.type_of(run) == ("CRASHED" if refused else "CANCELLED")


@pytest.mark.parametrize("major", [2, 3])
@pytest.mark.parametrize("wait", WAITS)
def test_a_process_that_is_there_is_waited_for(wait: str, major: int) -> None:
    simulation, job = in_state(major, WAITS[wait][0])
    simulation.settle()
    simulation.restart(0)
    simulation.settle()
    for event in (simulation.wake, simulation.finish):
        event(job)
    simulation.settle()
    assert simulation.server.type_of(simulation.runs[0]) == "COMPLETED"
    assert len(simulation.cluster.created) == 1
    assert simulation.violations == []


@pytest.mark.parametrize("major", [2, 3])
def test_a_suspended_run_waits_for_its_resume(major: int) -> None:
    simulation, job = in_state(major, ("suspend",))
    simulation.vanish(job)
    simulation.settle()
    [run] = simulation.runs
    assert simulation.server.type_of(run) == "PAUSED"

    simulation.resume(0)
    simulation.settle()
    for event in ("begin", "finish"):
        simulation.job(0, event)
    simulation.settle()
    assert simulation.server.type_of(run) == "COMPLETED"
    assert len(simulation.cluster.created) == 2


@pytest.mark.parametrize("major", [2, 3])
def test_a_run_that_is_terminated_after_a_retry_in_its_process_crashes(major: int) -> None:
    """On SIGTERM, Prefect 3's process schedules it, and the server offers it to no worker."""
    simulation, _ = in_state(major, ("retry", "wake", "terminate"))
    simulation.settle()
    state = simulation.server.rows[simulation.runs[0]]["state"]
    assert state["type"] == "CRASHED"
    assert major == 2 or "the server offers it to no worker" in state["message"]


@pytest.mark.parametrize("major", [2, 3])
def test_a_run_that_is_resumed_after_a_retry_in_its_process_crashes(major: int) -> None:
    simulation, job = in_state(major, ("retry", "wake", "suspend"))
    simulation.vanish(job)
    simulation.settle()
    assert simulation.server.type_of(simulation.runs[0]) == "PAUSED"
    simulation.resume(0)
    simulation.settle()
    state = simulation.server.rows[simulation.runs[0]]["state"]
    assert state["type"] == "CRASHED"
    assert "The run was to be resumed" in state["message"]


def test_a_worker_that_is_killed_leaves_the_rest_to_the_next() -> None:
    simulation, job = in_state(3, ("retry",))
    simulation.fail(job)
    simulation.restart(0)
    simulation.settle()
    assert simulation.server.type_of(simulation.runs[0]) == "CRASHED"
