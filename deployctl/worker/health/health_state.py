"""How a worker is doing: which of its loops live, and what keeps runs from being started.

The two are kept apart because a restart cures only the first. A server that is down, a wrong key, a
deleted pool or a queue that does not exist are faults: they make a worker not ready, and never
make Kubernetes restart it again and again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from deployctl.worker.model import WatchStatus

FROZEN_AFTER = 300.0
"""Seconds by which a beat may be late: requests have a timeout of a minute, Prefect's worker counts
as dead after 30 polls that did not come, by default as long."""

_WATCH = "watch "


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last sign of life of a loop; times are seconds of the clock of its `Vitals`."""

    at: float
    due: float
    """When the next one is expected."""


@dataclass(frozen=True, slots=True)
class HealthState:
    """What is known of a worker at one moment."""

    beats: Mapping[str, Heartbeat]
    """By the name of the loop."""
    faults: Mapping[str, str]
    """What is wrong (`api`, `pool`, `watch jobs`) → the reason."""


def liveness_failure(vitals: HealthState, now: float, patience: float = FROZEN_AFTER) -> str:
    """Why a restart would help: a loop that has been silent for `patience` seconds, because it is
    frozen or dead; else ""."""
    for loop, beat in vitals.beats.items():
        if now > beat.due + patience:
            return f"the loop '{loop}' has been silent for {now - beat.at:.0f} s"
    return ""


def readiness_failures(
    vitals: HealthState, now: float, patience: float = FROZEN_AFTER
) -> dict[str, str]:
    """All that keeps runs from being started, by name; empty for a worker that is ready."""
    ill = liveness_failure(vitals, now, patience)
    return {**vitals.faults, **({"loops": ill} if ill else {})}


class HealthMonitor:
    """Where the loops report. Every method may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self.clock = clock
        self._beats: dict[str, Heartbeat] = {}
        self._faults: dict[str, str] = {}
        self._lock = threading.Lock()
        self._here = threading.local()

    def beat(self, loop: str, pause: float = 0.0) -> None:
        """The loop, which the calling thread runs, is alive and will sleep for `pause` seconds."""
        self._here.loop = loop
        now = self.clock()
        with self._lock:
            self._beats[loop] = Heartbeat(now, now + pause)

    def patient(self, wait: Callable[[float], bool]) -> Callable[[float], bool]:
        """`wait`, as a sign of life of the loop in which somebody waits.

        For a session: a server under maintenance is waited for without end, and that is healthy.
        """

        def waiting(seconds: float) -> bool:
            loop = getattr(self._here, "loop", None)
            if loop is None:
                return wait(seconds)
            self.beat(loop, seconds)
            asked = wait(seconds)
            self.beat(loop)
            return asked

        return waiting

    def ended(self, loop: str) -> None:
        """The loop is over, as it should be."""
        with self._lock:
            self._beats.pop(loop, None)

    def fault(self, name: str, reason: str) -> None:
        """Something is wrong that a restart would not cure."""
        with self._lock:
            self._faults[name] = reason

    def well(self, name: str) -> None:
        """It is not wrong any more."""
        with self._lock:
            self._faults.pop(name, None)

    def watched(self, watches: Iterable[WatchStatus]) -> None:
        """Makes faults of the watches that have a problem, instead of those that had one before."""
        problems = {
            f"{_WATCH}{watch.location}": watch.problem for watch in watches if watch.problem
        }
        with self._lock:
            others = {k: v for k, v in self._faults.items() if not k.startswith(_WATCH)}
            self._faults = {**others, **problems}

    def vitals(self) -> HealthState:
        """How the worker is doing now."""
        with self._lock:
            return HealthState(dict(self._beats), dict(self._faults))
