"""Prometheus metrics of a worker.

Counters follow from the event log (events of runs, errors by kind), so no decision knows about
metrics. Gauges are computed on each scrape from the last `Sample` and the health state. Metric
names and label values are public and described in docs/worker.md.
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

RUN_EVENT_LABELS: Mapping[EventName, str] = {
    EventName.RUN_CLAIMED: "claimed",
    EventName.RUN_CLAIM_REJECTED: "claim_rejected",
    EventName.RUN_HANDED_BACK: "handed_back",
    EventName.RUN_SUBMITTED: "submitted",
    EventName.RUN_CRASHED: "crashed",
    EventName.RUN_CANCELLED: "cancelled",
    EventName.RUN_CLAIM_FAILED: "claim_failed",
    EventName.RUN_START_FAILED: "start_failed",
    EventName.RUN_RESOLVE_FAILED: "resolve_failed",
    EventName.RUN_SETUP_FAILED: "setup_failed",
    EventName.RUN_DELETE_FAILED: "delete_failed",
    EventName.RUN_CHECK_FAILED: "check_failed",
    EventName.RUN_CLEANUP_FAILED: "cleanup_failed",
    EventName.RUN_REPORT_FAILED: "report_failed",
}
"""Values of the label `event` of `runs_total`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """State of the reconciler after a step."""

    jobs: Mapping[Phase, int] = field(default_factory=dict)
    due: int = 0
    """Scheduled runs that the server offers."""
    claims: int = 0
    """Claims of this process whose Job has not been seen yet."""
    queue: int = 0
    """Updates that are not applied yet."""
    is_leader: bool = False
    watches: tuple[WatchStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """Counters since the start of the process."""

    runs: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    """By event (`claimed`, `crashed`) and cause."""
    errors: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    """By `ErrorKind`."""
    internal_errors: int = 0


def families(
    counts: Counts, sample: Sample, health: HealthState, clock: float, now: float
) -> Iterator[Metric]:
    """Yields all metrics. `clock`: time of the health state's clock; `now`: of the watches'."""
    yield _counter("runs", "Events of flow runs.", counts.runs, "event", "cause")
    yield _counter("errors", "Errors by kind.", counts.errors, "kind")
    yield _counter("internal_errors", "Defects of deployctl.", {(): counts.internal_errors})
    yield _gauge(
        "jobs",
        "Jobs by phase.",
        {(phase.value,): sample.jobs.get(phase, 0) for phase in Phase},
        "phase",
    )
    yield _gauge("due_runs", "Scheduled runs that the server offers.", {(): sample.due})
    yield _gauge("claims", "Claimed runs without a Job yet.", {(): sample.claims})
    yield _gauge("queue", "Updates that are not applied yet.", {(): sample.queue})
    yield _gauge("leader", "Whether this worker observes Jobs.", {(): sample.is_leader})
    yield _gauge(
        "up", "Whether /health succeeds: all loops live.", {(): not liveness_failure(health, clock)}
    )
    yield _gauge(
        "ready",
        "Whether /ready succeeds: there is no fault.",
        {(): not readiness_failures(health, clock)},
    )
    yield _gauge("fault", "Current faults.", {(name,): 1 for name in health.faults}, "name")
    yield _gauge(
        "loop_age_seconds",
        "Time since the last heartbeat of a loop.",
        {(loop.value,): clock - beat.at for loop, beat in health.heartbeats.items()},
        "loop",
    )
    yield _gauge(
        "watch_age_seconds",
        "Time since the last list, event or bookmark of a watch.",
        {
            (watch.location,): max(0.0, now - watch.last_contact)
            for watch in sample.watches
            if watch.last_contact
        },
        "location",
    )


class Metrics(Collector):
    """Counters and the Prometheus collector. Every method may be called from any thread."""

    def __init__(self, monitor: HealthMonitor, now: Callable[[], float]) -> None:
        """`now`: the clock of `WatchStatus.last_contact`."""
        self.sample = Sample()
        self._monitor = monitor
        self._now = now
        self._runs: Counter[tuple[str, ...]] = Counter()
        self._errors: Counter[tuple[str, ...]] = Counter()
        self._internal_errors = 0
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def count_run_event(self, label: str, cause: str) -> None:
        """Counts an event of a run; `label`: a value of RUN_EVENT_LABELS."""
        with self._lock:
            self._runs[label, cause] += 1

    def count_error(self, kind: str) -> None:
        """Counts an error of an `ErrorKind`."""
        with self._lock:
            self._errors[kind,] += 1

    def count_internal_error(self) -> None:
        """Counts a defect of deployctl."""
        with self._lock:
            self._internal_errors += 1

    def collect(self) -> Iterator[Metric]:
        """Returns all metrics for prometheus_client."""
        with self._lock:
            counts = Counts(dict(self._runs), dict(self._errors), self._internal_errors)
        monitor = self._monitor
        return families(counts, self.sample, monitor.state(), monitor.clock(), self._now())

    def text(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class MeteredEventLog:
    """Event log that counts events of runs and errors, then passes them on.

    The traceback of a defect is passed on once per process, so that a defect in a loop does not
    flood the log.
    """

    def __init__(self, event_log: EventLog, metrics: Metrics) -> None:
        self._event_log = event_log
        self._metrics = metrics
        self._tracebacks: set[str] = set()

    def emit(self, level: Level, event: EventName, message: str, **fields: Json) -> None:
        """Records an event; the fields `cause` and `error` become metric labels."""
        if label := RUN_EVENT_LABELS.get(event):
            self._metrics.count_run_event(label, str(fields.get("cause") or ""))
        if event is EventName.WORKER_INTERNAL_ERROR:
            self._metrics.count_internal_error()
            text = str(fields.pop("traceback", ""))
            if text and text not in self._tracebacks:
                self._tracebacks.add(text)
                fields["traceback"] = text
        elif kind := fields.get("error"):
            self._metrics.count_error(str(kind))
        self._event_log.emit(level, event, message, **fields)


def _counter(
    name: str, meaning: str, values: Mapping[tuple[str, ...], float], *labels: str
) -> Metric:
    return _with_values(CounterMetricFamily(_PREFIX + name, meaning, labels=labels), values)


def _gauge(
    name: str, meaning: str, values: Mapping[tuple[str, ...], float], *labels: str
) -> Metric:
    return _with_values(GaugeMetricFamily(_PREFIX + name, meaning, labels=labels), values)


def _with_values(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[tuple[str, ...], float]
) -> Metric:
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family
