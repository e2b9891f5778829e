"""The Prometheus page of a worker: the metrics of all its pools and of its process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from deployctl.worker.health.health_state import (
    HealthState,
    liveness_failure,
    readiness_failures,
)
from deployctl.worker.health.metric_names import (
    BUCKETS,
    Label,
    MetricName,
    Target,
    request_error_kind,
)
from deployctl.worker.health.metrics import Counts, Metrics, Sample
from deployctl.worker.model import Phase

Values = Mapping[tuple[str, ...], float]
"""Label values → value."""


@dataclass(frozen=True, slots=True)
class PoolState:
    """What is known about a pool at one moment."""

    counts: Counts
    sample: Sample
    health: HealthState
    clock: float
    """Time of the health state's clock."""


class Exporter(Collector):
    """Renders the metrics of a process. Every method may be called from any thread."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now`: the clock of `WatchStatus.last_contact`."""
        self.pools: Mapping[str, Metrics] = {}
        """By name; replaced as a whole."""
        self._now = now
        self._request_errors: Counter[tuple[str, ...]] = Counter()
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def count_request(self, target: Target, status: int | None) -> None:
        """Counts a failed attempt of a request; `status` None: there was no response."""
        if kind := request_error_kind(status):
            with self._lock:
                self._request_errors[target, kind] += 1

    def collect(self) -> Iterator[Metric]:
        """Returns all metrics for prometheus_client."""
        with self._lock:
            request_errors = dict(self._request_errors)
        states = {
            name: PoolState(each.counts(), each.sample, each.monitor.state(), each.monitor.clock())
            for name, each in self.pools.items()
        }
        return families(states, request_errors, self._now())

    def text(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


def families(
    pools: Mapping[str, PoolState], request_errors: Values, now: float
) -> Iterator[Metric]:
    """Yields all metrics. `now`: time of the watches' clock, `WatchStatus.last_contact`."""
    yield from _counters(pools, request_errors)
    for name in BUCKETS:
        yield _histogram(name, pools)
    yield from _samples(pools, now)
    yield from _health(pools)


def _counters(pools: Mapping[str, PoolState], request_errors: Values) -> Iterator[Metric]:
    yield _with_values(
        CounterMetricFamily(
            MetricName.RUNS, "Events of flow runs.", labels=(Label.POOL, Label.EVENT, Label.CAUSE)
        ),
        {(pool, *key): n for pool, state in pools.items() for key, n in state.counts.runs.items()},
    )
    yield _with_values(
        CounterMetricFamily(MetricName.ERRORS, "Errors by kind.", labels=(Label.POOL, Label.KIND)),
        {(pool, key): n for pool, state in pools.items() for key, n in state.counts.errors.items()},
    )
    yield _with_values(
        CounterMetricFamily(MetricName.INTERNAL_ERRORS, "Defects of deployctl.", labels=()),
        {(): sum(state.counts.internal_errors for state in pools.values())},
    )
    yield _with_values(
        CounterMetricFamily(
            MetricName.REQUEST_ERRORS,
            "Failed attempts of requests, by what they were sent to.",
            labels=(Label.TARGET, Label.KIND),
        ),
        request_errors,
    )


_HISTOGRAMS = {
    MetricName.CLAIM_DELAY: "Time from a run's scheduled start to its claim.",
    MetricName.JOB_CREATION_DELAY: "Time from a run's claim to the creation of its Job.",
    MetricName.JOB_START_DELAY: "Time from a Job's creation until it runs.",
}


def _histogram(name: MetricName, pools: Mapping[str, PoolState]) -> Metric:
    family = HistogramMetricFamily(name, _HISTOGRAMS[name], labels=(Label.POOL,))
    for pool, state in pools.items():
        histogram = state.counts.delays[name]
        buckets, count = [], 0
        for bound, n in zip((*map(str, BUCKETS[name]), "+Inf"), histogram.counts, strict=True):
            count += n
            buckets.append((bound, count))
        family.add_metric((pool,), buckets, histogram.total)
    return family


def _samples(pools: Mapping[str, PoolState], now: float) -> Iterator[Metric]:
    """Yields gauges of the last sample of each pool."""
    samples = {pool: state.sample for pool, state in pools.items()}
    yield _gauge(
        MetricName.JOBS,
        "Jobs by phase.",
        {(pool, phase): s.jobs.get(phase, 0) for pool, s in samples.items() for phase in Phase},
        Label.PHASE,
    )
    numbers: Mapping[MetricName, tuple[str, Callable[[Sample], float]]] = {
        MetricName.DUE_RUNS: ("Scheduled runs that the server offers.", lambda s: s.due),
        MetricName.RUNS_WAITING_FOR_SLOT: (
            "Due runs that a limit holds back.",
            lambda s: s.waiting_for_slot,
        ),
        MetricName.CLAIMS: ("Claimed runs without a Job yet.", lambda s: s.claims),
        MetricName.QUEUE: ("Updates that are not applied yet.", lambda s: s.queue),
        MetricName.LEADER: ("Whether this worker observes Jobs.", lambda s: s.is_leader),
    }
    for name, (meaning, value) in numbers.items():
        yield _gauge(name, meaning, {(pool,): value(s) for pool, s in samples.items()})
    yield _gauge(
        MetricName.WATCH_AGE,
        "Time since the last list, event or bookmark of a watch.",
        {
            (pool, watch.location): max(0.0, now - watch.last_contact)
            for pool, sample in samples.items()
            for watch in sample.watches
            if watch.last_contact
        },
        Label.LOCATION,
    )


def _health(pools: Mapping[str, PoolState]) -> Iterator[Metric]:
    """Yields gauges of the health of each pool."""
    yield _gauge(
        MetricName.UP,
        "Whether /health succeeds: all loops live.",
        {(pool,): not liveness_failure(each.health, each.clock) for pool, each in pools.items()},
    )
    yield _gauge(
        MetricName.READY,
        "Whether /ready succeeds: there is no fault.",
        {(pool,): not readiness_failures(each.health, each.clock) for pool, each in pools.items()},
    )
    yield _gauge(
        MetricName.FAULT,
        "Current faults.",
        {(pool, name): 1 for pool, each in pools.items() for name in each.health.faults},
        Label.NAME,
    )
    yield _gauge(
        MetricName.LOOP_AGE,
        "Time since the last heartbeat of a loop.",
        {
            (pool, loop): each.clock - beat.at
            for pool, each in pools.items()
            for loop, beat in each.health.heartbeats.items()
        },
        Label.LOOP,
    )


def _gauge(name: MetricName, meaning: str, values: Values, *labels: Label) -> Metric:
    """Returns a gauge whose first label is the pool."""
    return _with_values(GaugeMetricFamily(name, meaning, labels=(Label.POOL, *labels)), values)


def _with_values(family: CounterMetricFamily | GaugeMetricFamily, values: Values) -> Metric:
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family
