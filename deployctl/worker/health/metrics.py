"""Counters and histograms of one work pool.

They follow from the event log (events of runs, delays, errors by kind), so no decision knows about
metrics. Gauges are computed on each scrape from the last `Sample` and the health state; see
`exporter`. Metric names and label values are public and described in docs/worker.md.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from deployctl.core.json_values import Json
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.health.health_state import HealthMonitor
from deployctl.worker.health.metric_names import BUCKETS, DELAYS, RUN_EVENT_LABELS, MetricName
from deployctl.worker.model import Phase, WatchStatus


@dataclass(frozen=True, slots=True)
class Sample:
    """State of the reconciler after a step."""

    jobs: Mapping[Phase, int] = field(default_factory=dict)
    due: int = 0
    """Scheduled runs that the server offers."""
    waiting_for_slot: int = 0
    """Due runs that `--limit` or a concurrency limit of the server holds back."""
    claims: int = 0
    """Claims of this process whose Job has not been seen yet."""
    queue: int = 0
    """Updates that are not applied yet."""
    is_leader: bool = False
    watches: tuple[WatchStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observed values by bucket."""

    counts: tuple[int, ...]
    """One for each bucket, and one for values above all of them; not cumulative."""
    total: float = 0.0
    """Sum of all values."""

    def with_value(self, value: float, bounds: tuple[float, ...]) -> Histogram:
        """Returns the histogram with one more value."""
        index = bisect_left(bounds, value)
        counts = (*self.counts[:index], self.counts[index] + 1, *self.counts[index + 1 :])
        return Histogram(counts, self.total + value)


def _empty_histograms() -> dict[MetricName, Histogram]:
    return {name: Histogram((0,) * (len(bounds) + 1)) for name, bounds in BUCKETS.items()}


@dataclass(frozen=True, slots=True)
class Counts:
    """Counters since the start of the process."""

    runs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By event (`claimed`, `crashed`) and cause."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """By `ErrorKind`."""
    internal_errors: int = 0
    delays: Mapping[MetricName, Histogram] = field(default_factory=_empty_histograms)


class Metrics:
    """Counters, histograms and the last sample of a pool. May be used by many threads."""

    def __init__(self, monitor: HealthMonitor) -> None:
        self.monitor = monitor
        self.sample = Sample()
        self._runs: Counter[tuple[str, str]] = Counter()
        self._errors: Counter[str] = Counter()
        self._internal_errors = 0
        self._delays = _empty_histograms()
        self._lock = threading.Lock()

    def count_run_event(self, label: str, cause: str) -> None:
        """Counts an event of a run; `label`: a value of RUN_EVENT_LABELS."""
        with self._lock:
            self._runs[label, cause] += 1

    def count_error(self, kind: str) -> None:
        """Counts an error of an `ErrorKind`."""
        with self._lock:
            self._errors[kind] += 1

    def count_internal_error(self) -> None:
        """Counts a defect of deployctl."""
        with self._lock:
            self._internal_errors += 1

    def observe_delay(self, name: MetricName, seconds: float) -> None:
        """Adds a value to a histogram of BUCKETS."""
        with self._lock:
            self._delays[name] = self._delays[name].with_value(seconds, BUCKETS[name])

    def counts(self) -> Counts:
        """Returns a copy of all counters and histograms."""
        with self._lock:
            return Counts(
                dict(self._runs), dict(self._errors), self._internal_errors, dict(self._delays)
            )


class MeteredEventLog:
    """Event log that counts events of runs and errors, then passes them on.

    The traceback of a defect is passed on once per process, so that a defect in a loop does not
    flood the log.
    """

    def __init__(self, event_log: EventLog, metrics: Metrics, pool: str = "") -> None:
        """`pool`: is added to every entry, if it is set."""
        self._event_log = event_log
        self._pool: dict[str, Json] = {"pool": pool} if pool else {}
        self._metrics = metrics
        self._tracebacks: set[str] = set()

    def emit(self, level: Level, event: EventName, message: str, **fields: Json) -> None:
        """Records an event. The fields `cause` and `error` become metric labels; `delay` goes into
        a histogram."""
        if label := RUN_EVENT_LABELS.get(event):
            self._metrics.count_run_event(label, str(fields.get("cause") or ""))
        if (delay := fields.get("delay")) is not None and event in DELAYS:
            self._metrics.observe_delay(DELAYS[event], delay)
        if event is EventName.WORKER_INTERNAL_ERROR:
            self._metrics.count_internal_error()
            text = str(fields.pop("traceback", ""))
            if text and text not in self._tracebacks:
                self._tracebacks.add(text)
                fields["traceback"] = text
        elif kind := fields.get("error"):
            self._metrics.count_error(str(kind))
        self._event_log.emit(level, event, message, **(fields | self._pool))
