"""Liveness and readiness of a worker.

Liveness fails only for what a restart cures: a loop that is dead or stuck. Everything else (a
server that is down, a wrong key, a deleted pool, an unknown queue) is a fault: the worker is not
ready, and Kubernetes does not restart it in a loop for something that a restart cannot change.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from deployctl.worker.model import WatchStatus
from deployctl.worker.timings import DEFAULT_TIMINGS


class Loop(StrEnum):
    """The loops of a worker. Public: names of faults, values of the metric label `loop`."""

    START = "start"
    POOLS = "pools"
    """Of a worker with several pools: takes up and releases pools."""
    RECONCILE = "reconcile"
    HEARTBEAT = "heartbeat"
    POLL = "poll"
    SYNC = "sync"
    REPORT = "report"
    WATCH = "watch"
    LEASE = "lease"


class Fault(StrEnum):
    """Names of faults other than those of loops. Public, as the names of loops are."""

    POOL = "pool"
    QUEUE = "queue"
    WATCH = "watch"
    """Followed by a space and the location that is not watched."""
    LOOPS = "loops"
    """Liveness has failed."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last heartbeat of a loop; times are seconds of the monitor's clock."""

    at: float
    due: float
    """When the next one is expected."""


@dataclass(frozen=True, slots=True)
class HealthState:
    """Heartbeats and faults at one moment."""

    heartbeats: Mapping[str, Heartbeat]
    """By loop."""
    faults: Mapping[str, str]
    """Name (`poll`, `pool`, `watch flows`) → reason."""
    loop_timeout: float = DEFAULT_TIMINGS.loop_timeout
    """Seconds by which a heartbeat may be late."""


def liveness_failure(state: HealthState, now: float) -> str:
    """Returns why a restart would help: a loop whose heartbeat is overdue; "" if there is none."""
    for loop, beat in state.heartbeats.items():
        if now > beat.due + state.loop_timeout:
            return f"the loop '{loop}' has been silent for {now - beat.at:.0f} s"
    return ""


def readiness_failures(state: HealthState, now: float) -> dict[str, str]:
    """Returns everything that keeps runs from starting, by name; empty if the worker is ready."""
    dead = liveness_failure(state, now)
    return {**state.faults, **({Fault.LOOPS: dead} if dead else {})}


_this_thread = threading.local()
"""`heartbeat`: gives a sign of life of the loop that the thread runs, pausing for some seconds."""


def heartbeat_while_waiting(wait: Callable[[float], bool]) -> Callable[[float], bool]:
    """Wraps `wait` so that waiting counts as a heartbeat of the calling thread's loop.

    For sessions: waiting for a server under maintenance can take hours and is healthy.
    """

    def wait_alive(seconds: float) -> bool:
        """Waits, with a heartbeat before and after."""
        heartbeat = getattr(_this_thread, "heartbeat", None)
        if heartbeat is None:
            return wait(seconds)
        heartbeat(seconds)
        cancelled = wait(seconds)
        heartbeat(0.0)
        return cancelled

    return wait_alive


class HealthMonitor:
    """Collects heartbeats and faults from all threads."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        loop_timeout: float = DEFAULT_TIMINGS.loop_timeout,
    ) -> None:
        """`clock` returns seconds; `loop_timeout`: see `Timings`."""
        self.clock = clock
        self._loop_timeout = loop_timeout
        self._heartbeats: dict[str, Heartbeat] = {}
        self._faults: dict[str, str] = {}
        self._lock = threading.Lock()

    def heartbeat(self, loop: Loop, pause: float = 0.0) -> None:
        """Records that `loop`, run by the calling thread, is alive and now sleeps for `pause` s."""
        _this_thread.heartbeat = lambda seconds: self._record(loop, seconds)
        self._record(loop, pause)

    def _record(self, loop: Loop, pause: float) -> None:
        now = self.clock()
        with self._lock:
            self._heartbeats[loop] = Heartbeat(now, now + pause)

    def loop_ended(self, loop: Loop) -> None:
        """Stops expecting heartbeats of a loop that ended as intended."""
        with self._lock:
            self._heartbeats.pop(loop, None)

    def set_fault(self, name: str, reason: str) -> None:
        """Records something that a restart would not cure."""
        with self._lock:
            self._faults[name] = reason

    def clear_fault(self, name: str) -> None:
        """Forgets a fault that is over."""
        with self._lock:
            self._faults.pop(name, None)

    def set_watch_faults(self, watches: Iterable[WatchStatus]) -> None:
        """Replaces all watch faults with the problems of these watches."""
        prefix = f"{Fault.WATCH} "
        problems = {
            f"{prefix}{watch.location}": watch.problem for watch in watches if watch.problem
        }
        with self._lock:
            others = {k: v for k, v in self._faults.items() if not k.startswith(prefix)}
            self._faults = {**others, **problems}

    def state(self) -> HealthState:
        """Returns a copy of the current state."""
        with self._lock:
            return HealthState(dict(self._heartbeats), dict(self._faults), self._loop_timeout)


class CombinedHealth:
    """Health of a worker with several pools: its own, and that of each pool.

    Names of a pool's loops and faults follow the pool's name and a slash: `team-a/poll`.
    """

    def __init__(self, own: HealthMonitor) -> None:
        self.clock = own.clock
        self.pools: Mapping[str, HealthMonitor] = {}
        """By name; replaced as a whole."""
        self._own = own

    def state(self) -> HealthState:
        """Returns heartbeats and faults of all."""
        own = self._own.state()
        heartbeats, faults = dict(own.heartbeats), dict(own.faults)
        for pool, monitor in self.pools.items():
            state = monitor.state()
            heartbeats |= {f"{pool}/{loop}": beat for loop, beat in state.heartbeats.items()}
            faults |= {f"{pool}/{name}": reason for name, reason in state.faults.items()}
        return HealthState(heartbeats, faults, own.loop_timeout)
