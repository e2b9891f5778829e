from __future__ import annotations

import threading

import pytest

from deployctl.worker.health.health_state import (
    HealthMonitor,
    HealthState,
    Heartbeat,
    liveness_failure,
    readiness_failures,
)
from deployctl.worker.model import WatchStatus


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("beats", "said"),
    [
        ({}, ""),
        ({"poll": Heartbeat(1000, 1010)}, ""),
        ({"poll": Heartbeat(700, 710)}, ""),
        ({"poll": Heartbeat(600, 699)}, "the loop 'poll' has been silent for 400 s"),
        ({"poll": Heartbeat(600, 5000)}, ""),
        (
            {"a": Heartbeat(1000, 1000), "b": Heartbeat(1, 2)},
            "the loop 'b' has been silent for 999 s",
        ),
    ],
)
def test_only_a_loop_that_is_silent_for_too_long_is_an_illness(
    beats: dict[str, Heartbeat], said: str
) -> None:
    faults = {"api": "it is down", "authentication": "401", "pool": "it was deleted"}
    assert liveness_failure(HealthState(beats, faults), 1000, patience=300) == said


@pytest.mark.parametrize(
    ("vitals", "names"),
    [
        (HealthState({}, {}), []),
        (HealthState({}, {"api": "down", "queue": "unknown"}), ["api", "queue"]),
        (HealthState({"poll": Heartbeat(0, 0)}, {"api": "down"}), ["api", "loops"]),
    ],
)
def test_every_fault_is_an_obstacle(vitals: HealthState, names: list[str]) -> None:
    assert list(readiness_failures(vitals, 1000, patience=300)) == names


def test_a_loop_that_ended_as_it_should_is_not_missed() -> None:
    clock = Clock()
    monitor = HealthMonitor(clock)
    monitor.beat("poll", 10)
    monitor.beat("sync", 10)
    monitor.ended("poll")
    clock.now += 1000
    assert list(monitor.vitals().beats) == ["sync"]
    assert "'sync'" in liveness_failure(monitor.vitals(), clock())


def test_a_fault_lasts_until_it_is_well() -> None:
    monitor = HealthMonitor(Clock())
    monitor.fault("api", "refused")
    monitor.fault("api", "timed out")
    assert monitor.vitals().faults == {"api": "timed out"}
    monitor.well("api")
    monitor.well("api")
    assert monitor.vitals().faults == {}


def test_watches_with_a_problem_are_faults_until_they_have_none() -> None:
    monitor = HealthMonitor(Clock())
    monitor.fault("api", "down")
    monitor.watched([WatchStatus("a", 1.0, "403"), WatchStatus("b", 2.0)])
    assert monitor.vitals().faults == {"api": "down", "watch a": "403"}
    monitor.watched([WatchStatus("a", 3.0), WatchStatus("b", 2.0, "gone")])
    assert monitor.vitals().faults == {"api": "down", "watch b": "gone"}
    monitor.watched([])
    assert monitor.vitals().faults == {"api": "down"}


def test_waiting_for_a_server_without_end_is_a_sign_of_life() -> None:
    clock = Clock()
    monitor = HealthMonitor(clock)

    def wait(seconds: float) -> bool:
        assert liveness_failure(monitor.vitals(), clock.now + seconds) == ""
        clock.now += seconds
        return False

    waiting = monitor.patient(wait)
    monitor.beat("poll")
    for _ in range(200):
        assert waiting(3600.0) is False
        assert liveness_failure(monitor.vitals(), clock.now) == ""
    clock.now += 301
    assert "'poll'" in liveness_failure(monitor.vitals(), clock.now)


def test_waiting_says_nothing_of_loops_in_other_threads() -> None:
    clock = Clock()
    monitor = HealthMonitor(clock)
    thread = threading.Thread(target=lambda: monitor.beat("poll"))
    thread.start()
    thread.join()
    clock.now += 1000
    assert monitor.patient(lambda _seconds: True)(1.0) is True
    assert "'poll'" in liveness_failure(monitor.vitals(), clock.now)
