"""What a worker counts, for Prometheus.

Counts come from what happens anyway: lines of the journal about runs, and errors. Everything that
is a size or an age is taken, when somebody asks, from the last `Sample` and from the vitals. So no
decision knows of metrics. The names are described in docs/worker.md.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deployctl.core.json_values import Json
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.health.health_state import (
    HealthMonitor,
    HealthState,
    liveness_failure,
    readiness_failures,
)
from deployctl.worker.model import Phase, WatchStatus

_PREFIX = "deployctl_worker_"


@dataclass(frozen=True, slots=True)
class Sample:
    """What the owner of the table sees after a turn."""

    jobs: Mapping[Phase, int] = field(default_factory=dict)
    due: int = 0
    """Scheduled runs that the server offers."""
    claims: int = 0
    """Claims of this process whose job has not been seen yet."""
    queue: int = 0
    """News that nobody has looked at yet."""
    is_leader: bool = False
    watches: tuple[WatchStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """What has happened since the start."""

    runs: Mapping[tuple[str, ...], int]
    """By event (`claimed`, `crashed`) and cause."""
    errors: Mapping[tuple[str, ...], int]
    """By kind."""


def families(
    counts: Counts, sample: Sample, vitals: HealthState, clock: float, now: float
) -> Iterator[Metric]:
    """All metrics. `clock` is the time of the vitals' clock, `now` that of the watches'."""
    yield _counter("runs", "What happened to flow runs.", ("event", "cause"), counts.runs)
    yield _counter("errors", "Errors by kind.", ("kind",), counts.errors)
    yield _gauge(
        "jobs",
        "Jobs by phase.",
        {(phase.value,): sample.jobs.get(phase, 0) for phase in Phase},
        "phase",
    )
    yield _gauge("due_runs", "Scheduled runs that the server offers.", {(): sample.due})
    yield _gauge("claims", "Claimed runs whose job is not there yet.", {(): sample.claims})
    yield _gauge("queue", "News that wait to be looked at.", {(): sample.queue})
    yield _gauge("leader", "Whether this worker observes the jobs.", {(): sample.is_leader})
    yield _gauge(
        "up", "Whether all loops live, as /health says.", {(): not liveness_failure(vitals, clock)}
    )
    yield _gauge(
        "ready",
        "Whether nothing is wrong, as /ready says.",
        {(): not readiness_failures(vitals, clock)},
    )
    yield _gauge(
        "fault", "What is wrong at the moment.", {(name,): 1 for name in vitals.faults}, "name"
    )
    yield _gauge(
        "loop_age_seconds",
        "Time since the last sign of life of a loop.",
        {(loop,): clock - beat.at for loop, beat in vitals.beats.items()},
        "loop",
    )
    yield _gauge(
        "watch_age_seconds",
        "Time since something was heard of the jobs in a place.",
        {
            (watch.location,): max(0.0, now - watch.last_contact)
            for watch in sample.watches
            if watch.last_contact
        },
        "location",
    )


class Metrics(Collector):
    """Counts, and shows what there is. Every method may be called from any thread."""

    def __init__(self, monitor: HealthMonitor, now: Callable[[], float]) -> None:
        """`now`: the clock by which watches say when they heard something."""
        self.sample = Sample()
        self._monitor = monitor
        self._now = now
        self._runs: Counter[tuple[str, ...]] = Counter()
        self._errors: Counter[tuple[str, ...]] = Counter()
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def happened(self, event: str, cause: str) -> None:
        """Something happened to a run."""
        with self._lock:
            self._runs[event, cause] += 1

    def failed(self, kind: str) -> None:
        """Something could not be done because of an error of this kind."""
        with self._lock:
            self._errors[kind,] += 1

    def collect(self) -> Iterator[Metric]:
        """All metrics now, for the library."""
        with self._lock:
            counts = Counts(dict(self._runs), dict(self._errors))
        monitor = self._monitor
        return families(counts, self.sample, monitor.vitals(), monitor.clock(), self._now())

    def text(self) -> bytes:
        """All metrics now, in Prometheus' text form."""
        return generate_latest(self._registry)


class CountingEventLog:
    """A journal that counts what it is told of runs and errors before it passes it on."""

    def __init__(self, event_log: EventLog, metrics: Metrics) -> None:
        self._event_log = event_log
        self._metrics = metrics

    def emit(self, level: Level, event: EventName, message: str, **facts: Json) -> None:
        """Something happened; `cause` and `error` are the facts that are counted by."""
        subject, _, what = event.partition(".")
        if subject == "run":
            self._metrics.happened(what, str(facts.get("cause") or ""))
        if kind := facts.get("error"):
            self._metrics.failed(str(kind))
        self._event_log.emit(level, event, message, **facts)


def _counter(
    name: str, meaning: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, meaning, labels=labels)
    for which, value in values.items():
        family.add_metric(which, value)
    return family


def _gauge(
    name: str, meaning: str, values: Mapping[tuple[str, ...], float], *labels: str
) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, meaning, labels=labels)
    for which, value in values.items():
        family.add_metric(which, value)
    return family
