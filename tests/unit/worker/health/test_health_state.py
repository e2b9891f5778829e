from __future__ import annotations

import threading

import pytest

from deployctl.worker.health.health_state import (
    CombinedHealth,
    HealthMonitor,
    HealthState,
    Heartbeat,
    Loop,
    heartbeat_while_waiting,
    liveness_failure,
    readiness_failures,
)
from deployctl.worker.model import WatchStatus


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("heartbeats", "failure"),
    [
        ({}, ""),
        ({Loop.POLL: Heartbeat(1000, 1010)}, ""),
        ({Loop.POLL: Heartbeat(700, 710)}, ""),
        ({Loop.POLL: Heartbeat(600, 699)}, "the loop 'poll' has been silent for 400 s"),
        ({Loop.POLL: Heartbeat(600, 5000)}, ""),
        (
            {Loop.SYNC: Heartbeat(1000, 1000), Loop.LEASE: Heartbeat(1, 2)},
            "the loop 'lease' has been silent for 999 s",
        ),
    ],
)
def test_liveness_fails_only_for_a_silent_loop(
    heartbeats: dict[str, Heartbeat], failure: str
) -> None:
    faults = {"api": "it is down", "authentication": "401", "pool": "it was deleted"}
    assert liveness_failure(HealthState(heartbeats, faults), 1000) == failure


@pytest.mark.parametrize(
    ("state", "names"),
    [
        (HealthState({}, {}), []),
        (HealthState({}, {"api": "down", "queue": "unknown"}), ["api", "queue"]),
        (HealthState({Loop.POLL: Heartbeat(0, 0)}, {"api": "down"}), ["api", "loops"]),
    ],
)
def test_readiness_fails_for_every_fault(state: HealthState, names: list[str]) -> None:
    assert list(readiness_failures(state, 1000)) == names


def test_a_loop_that_ended_is_not_expected_to_report() -> None:
    clock = Clock()
    monitor = HealthMonitor(clock)
    monitor.heartbeat(Loop.POLL, 10)
    monitor.heartbeat(Loop.SYNC, 10)
    monitor.loop_ended(Loop.POLL)
    clock.now += 1000
    assert list(monitor.state().heartbeats) == [Loop.SYNC]
    assert "'sync'" in liveness_failure(monitor.state(), clock())


def test_a_fault_lasts_until_it_is_cleared() -> None:
    monitor = HealthMonitor(Clock())
    monitor.set_fault("api", "refused")
    monitor.set_fault("api", "timed out")
    assert monitor.state().faults == {"api": "timed out"}
    monitor.clear_fault("api")
    monitor.clear_fault("api")
    assert monitor.state().faults == {}


def test_problems_of_watches_are_faults() -> None:
    monitor = HealthMonitor(Clock())
    monitor.set_fault("api", "down")
    monitor.set_watch_faults([WatchStatus("a", 1.0, "403"), WatchStatus("b", 2.0)])
    assert monitor.state().faults == {"api": "down", "watch a": "403"}
    monitor.set_watch_faults([WatchStatus("a", 3.0), WatchStatus("b", 2.0, "gone")])
    assert monitor.state().faults == {"api": "down", "watch b": "gone"}
    monitor.set_watch_faults([])
    assert monitor.state().faults == {"api": "down"}


def test_waiting_for_a_server_counts_as_a_heartbeat() -> None:
    clock = Clock()
    monitor = HealthMonitor(clock)

    def wait(seconds: float) -> bool:
        assert liveness_failure(monitor.state(), clock.now + seconds) == ""
        clock.now += seconds
        return False

    waiting = heartbeat_while_waiting(wait)
    monitor.heartbeat(Loop.POLL)
    for _ in range(200):
        assert waiting(3600.0) is False
        assert liveness_failure(monitor.state(), clock.now) == ""
    clock.now += 301
    assert "'poll'" in liveness_failure(monitor.state(), clock.now)


def test_waiting_is_no_heartbeat_of_loops_in_other_threads() -> None:
    clock = Clock()
    monitor = HealthMonitor(clock)
    thread = threading.Thread(target=lambda: monitor.heartbeat(Loop.POLL))
    thread.start()
    thread.join()
    clock.now += 1000
    assert heartbeat_while_waiting(lambda _seconds: True)(1.0) is True
    assert "'poll'" in liveness_failure(monitor.state(), clock.now)


def test_faults_and_loops_of_several_pools_are_told_apart() -> None:
    clock = Clock()
    own, team = HealthMonitor(clock), HealthMonitor(clock)
    combined = CombinedHealth(own)
    combined.pools = {"team-a": team}
    own.set_fault("pool", "none matches")
    team.set_fault("poll", "down")
    team.heartbeat(Loop.SYNC)
    clock.now += 1000
    failures = readiness_failures(combined.state(), combined.clock())
    assert failures == {
        "pool": "none matches",
        "team-a/poll": "down",
        "loops": "the loop 'team-a/sync' has been silent for 1000 s",
    }
