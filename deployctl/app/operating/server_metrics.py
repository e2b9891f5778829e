"""Gauges of a whole Prefect server, under the names of PrefectHQ's prometheus-prefect-exporter.

That exporter reads every flow run on each scrape. Here one request per kind of object is sent at
most once per interval, however often it is scraped, and the server counts the runs. What has one
series per run is left out (`prefect_info_flow_runs`, `prefect_flow_runs_total_run_time`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call, gather
from deployctl.api.paging import pages
from deployctl.api.work_pools import list_pools
from deployctl.app.operating.runs import parse_time
from deployctl.core.errors import ApiError, DeployctlError
from deployctl.core.json_values import Json


class ServerMetric(StrEnum):
    """Every metric; the names are public. Those with `prefect_` are the exporter's."""

    DEPLOYMENTS = "prefect_deployments_total"
    FLOWS = "prefect_flows_total"
    FLOW_RUNS = "prefect_flow_runs_total"
    WORK_POOLS = "prefect_work_pools_total"
    WORK_QUEUES = "prefect_work_queues_total"
    RUN_STATES = "prefect_flow_run_state_total"
    RUN_STATES_DAY = "prefect_flow_run_state_past_24_hours_total"
    DEPLOYMENT_INFO = "prefect_info_deployment"
    FLOW_INFO = "prefect_info_flows"
    WORK_POOL_INFO = "prefect_info_work_pools"
    WORK_QUEUE_INFO = "prefect_info_work_queues"
    UP = "deployctl_server_up"
    LATE_RUNS = "deployctl_server_late_runs"
    MAX_LATENESS = "deployctl_server_max_lateness_seconds"


INFO_LABELS: Mapping[ServerMetric, Mapping[str, str]] = {
    ServerMetric.DEPLOYMENT_INFO: {
        "created": "created",
        "flow_id": "flow_id",
        "flow_name": "flow_name",
        "deployment_id": "id",
        "is_schedule_active": "is_schedule_active",
        "deployment_name": "name",
        "path": "path",
        "paused": "paused",
        "work_pool_name": "work_pool_name",
        "work_queue_name": "work_queue_name",
        "status": "status",
    },
    ServerMetric.FLOW_INFO: {"created": "created", "flow_id": "id", "flow_name": "name"},
    ServerMetric.WORK_POOL_INFO: {
        "created": "created",
        "work_queue_id": "default_queue_id",
        "work_pool_id": "id",
        "is_paused": "is_paused",
        "work_pool_name": "name",
        "type": "type",
        "status": "status",
    },
    ServerMetric.WORK_QUEUE_INFO: {
        "created": "created",
        "work_queue_id": "id",
        "is_paused": "is_paused",
        "work_queue_name": "name",
        "priority": "priority",
        "type": "type",
        "work_pool_id": "work_pool_id",
        "work_pool_name": "work_pool_name",
        "status": "status",
        "healthy": "",
        "late_runs_count": "",
        "last_polled": "",
        "health_check_policy_maximum_late_runs": "",
        "health_check_policy_maximum_seconds_since_last_polled": "",
    },
}
"""Labels of the metrics of single objects → fields of the object; "": not in the server's listing.

Such a label is `null`, which is also the exporter's word for a field that is missing.
"""

_STATES = (
    *("Failed", "Crashed", "Running", "Cancelled", "Completed", "Pending", "Scheduled"),
    "Late",
)
"""States that are reported even if no run is in them."""
_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
_END = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ServerSample:
    """What was read from the server at one moment."""

    deployments: Sequence[Json] = ()
    """With the name of their flow as `flow_name`."""
    flows: Sequence[Json] = ()
    pools: Sequence[Json] = ()
    queues: Sequence[Json] = ()
    states: Mapping[str, int] | None = None
    """Name of a state → number of runs in it; None if the server does not count them in time."""
    states_day: Mapping[str, int] | None = None
    """The same, of runs that were to start within the last 24 hours."""
    max_lateness: float = 0.0
    """Seconds by which the run that has been late for longest is late."""


def read_sample(now: datetime) -> ApiCall[ServerSample]:
    """Reads a sample with one listing per kind of object. `now`: the server's time."""
    newest = {"sort": "CREATED_DESC"}
    late = {"flow_runs": {"state": {"name": {"any_": ["Late"]}}}, "limit": 1}
    calls: dict[str, ApiCall[Any]] = {
        "deployments": pages(paths.DEPLOYMENTS, newest, 1),
        "flows": pages(paths.FLOWS, newest, 1),
        "pools": list_pools(),
        "queues": pages(paths.WORK_QUEUES, {}, 1),
        "late": call(
            Request(
                "POST",
                paths.listing(paths.FLOW_RUNS),
                {**late, "sort": "EXPECTED_START_TIME_ASC"},
            )
        ),
    }
    found = yield from gather(calls)
    day = yield from _count_states(now - timedelta(hours=24), now)
    states = None if day is None else (yield from _count_states(_BEGIN, _END))
    names = {flow["id"]: flow["name"] for flow in found["flows"]}
    starts = [run["expected_start_time"] for run in found["late"]]
    return ServerSample(
        [
            {**each, "flow_name": names.get(each["flow_id"], "null")}
            for each in found["deployments"]
        ],
        found["flows"],
        found["pools"],
        found["queues"],
        states,
        day,
        max((max(0.0, (now - parse_time(start)).total_seconds()) for start in starts), default=0.0),
    )


def _count_states(start: datetime, end: datetime) -> ApiCall[dict[str, int] | None]:
    """The number of runs by state that are expected to start between two times: one request.

    None after an error: with millions of runs the server needs longer than a scrape, and that must
    not take the other gauges away. A server that is down fails the other requests, too.
    """
    body = {
        "history_start": start.isoformat(),
        "history_end": end.isoformat(),
        "history_interval_seconds": (end - start).total_seconds(),
    }
    try:
        found = yield from call(Request("POST", f"{paths.FLOW_RUNS}history", body))
    except ApiError:
        return None
    counts: Counter[str] = Counter()
    for interval in found:
        for state in interval["states"]:
            counts[state["state_name"]] += state["count_runs"]
    return dict(counts)


def families(sample: ServerSample | None) -> Iterator[Metric]:
    """Yields all metrics of a sample; only that the server is down if there is none."""
    up = "Whether the last reading of the server succeeded."
    yield _gauge(ServerMetric.UP, up, int(sample is not None))
    if sample is None:
        return
    yield _gauge(ServerMetric.DEPLOYMENTS, "Deployments.", len(sample.deployments))
    yield _gauge(ServerMetric.FLOWS, "Flows.", len(sample.flows))
    yield _gauge(ServerMetric.WORK_POOLS, "Work pools.", len(sample.pools))
    yield _gauge(ServerMetric.WORK_QUEUES, "Work queues.", len(sample.queues))
    if (states := sample.states) is not None:
        yield _gauge(ServerMetric.FLOW_RUNS, "Flow runs.", sum(states.values()))
        yield _by_state(ServerMetric.RUN_STATES, "Flow runs by state.", states)
        yield _gauge(ServerMetric.LATE_RUNS, "Late flow runs.", states.get("Late", 0))
    if (day := sample.states_day) is not None:
        expected = "Flow runs by state that were to start within the last 24 hours."
        yield _by_state(ServerMetric.RUN_STATES_DAY, expected, day)
    yield _info(ServerMetric.DEPLOYMENT_INFO, "Deployments, each 1.", sample.deployments)
    yield _info(ServerMetric.FLOW_INFO, "Flows, each 1.", sample.flows)
    yield _info(ServerMetric.WORK_POOL_INFO, "Work pools: 0 if paused, else 1.", sample.pools)
    yield _info(ServerMetric.WORK_QUEUE_INFO, "Work queues: 0 if paused, else 1.", sample.queues)
    longest = "Time since the scheduled start of the run that has been late for longest."
    yield _gauge(ServerMetric.MAX_LATENESS, longest, sample.max_lateness)


def _gauge(name: ServerMetric, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _by_state(name: ServerMetric, meaning: str, counts: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=("state",))
    for state, count in (dict.fromkeys(_STATES, 0) | dict(counts)).items():
        family.add_metric((state,), count)
    return family


def _info(name: ServerMetric, meaning: str, objects: Sequence[Json]) -> Metric:
    labels = INFO_LABELS[name]
    family = GaugeMetricFamily(name, meaning, labels=tuple(labels))
    for each in objects:
        values = [str(each.get(field, "null")) for field in labels.values()]
        family.add_metric(values, int(not each.get("is_paused")))
    return family


class ServerGauges(Collector):
    """Reads the server at most once per interval, and renders the result. Thread-safe.

    After a failed reading only `deployctl_server_up 0` is left: old values would pass for new ones.
    """

    def __init__(
        self,
        read: Callable[[], ServerSample],
        interval: float,
        on_change: Callable[[DeployctlError | None], object] = lambda _error: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`interval`: seconds; `on_change`: called with the error when the server begins to fail,
        and with None when it works again."""
        self._read = read
        self._interval = interval
        self._on_change = on_change
        self._clock = clock
        self._lock = threading.Lock()
        self._sample: ServerSample | None = None
        self._failing = False
        self._expires = float("-inf")
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Returns all metrics for prometheus_client; reads the server if the interval is over."""
        return families(self._current())

    def text(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Returns nothing, so that registering reads nothing."""
        return []

    def _current(self) -> ServerSample | None:
        with self._lock:
            if self._clock() >= self._expires:
                error = self._refresh()
                if (error is not None) != self._failing:
                    self._failing = error is not None
                    self._on_change(error)
                self._expires = self._clock() + self._interval
            return self._sample

    def _refresh(self) -> DeployctlError | None:
        self._sample = None
        try:
            self._sample = self._read()
        except DeployctlError as error:
            return error
        return None
