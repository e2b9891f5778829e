"""Gauges of a server: what is read, how it is counted, and how long it is valid."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from deployctl.api.calls import Request
from deployctl.app.operating.server_metrics import (
    INFO_LABELS,
    ServerGauges,
    ServerMetric,
    ServerSample,
    read_sample,
)
from deployctl.core.errors import DeployctlError, Unreachable
from deployctl.core.json_values import Json
from tests.unit.app.fake_driver import run_with

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
QUEUES = [{"id": "q", "name": "default", "is_paused": True, "work_pool_name": "p", "priority": 1}]
POOLS = [{"id": "p-1", "name": "p", "type": "process", "is_paused": False, "status": "READY"}]
DEPLOYMENTS = [
    {"id": "d-1", "name": "daily", "flow_id": "f-1", "paused": False, "path": None},
    {"id": "d-2", "name": "orphan", "flow_id": "f-2"},
]


def state(name: str, count: int) -> Json:
    return {"state_name": name, "state_type": "", "count_runs": count}


class Server:
    """Answers the requests of a sample, and counts them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Json:
        self.requests.append(request)
        match request.path.strip("/").split("/"):
            case ["deployments", "filter"]:
                return DEPLOYMENTS
            case ["flows", "filter"]:
                return [{"id": "f-1", "name": "etl"}]
            case ["work_pools", "filter"]:
                return POOLS
            case ["work_queues", "filter"]:
                return QUEUES
            case ["flow_runs", "history"]:
                days = request.body["history_interval_seconds"] / 86400
                first = [state("Completed", 7), state("Late", 2)]
                return [{"states": first}] + [{"states": [state("Completed", 3)]}] * (days > 1)
            case ["flow_runs", "filter"]:
                return [{"expected_start_time": "2030-01-01T11:58:30Z"}]
        raise AssertionError(request)


def samples(text: bytes) -> dict[str, float]:
    """Samples without labels by name, and those with labels by `name{value,…}`, labels sorted."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for each in family.samples:
            values = ",".join(each.labels[name] for name in sorted(each.labels))
            found[each.name + (f"{{{values}}}" if values else "")] = each.value
    return found


def test_one_request_for_each_kind_of_object() -> None:
    server = Server()
    run_with(read_sample(NOW), server)
    paths = [request.path for request in server.requests]
    assert len(paths) == 7
    assert paths.count("/flow_runs/history") == 2


def test_runs_that_cannot_be_counted_in_time_leave_the_other_gauges() -> None:
    server = Server()

    def count_slowly(request: Request) -> Json:
        if request.path.endswith("/history"):
            raise Unreachable("no response within 4 s")
        return server(request)

    sample = run_with(read_sample(NOW), count_slowly)
    shown = samples(ServerGauges(lambda: sample, 30.0).text())
    assert shown["deployctl_server_up"] == 1
    assert shown["prefect_deployments_total"] == 2
    assert not any(name.startswith("prefect_flow_run") for name in shown)


def test_gauges_of_a_sample() -> None:
    sample = run_with(read_sample(NOW), Server())
    found = samples(ServerGauges(lambda: sample, 30).text())
    assert found["prefect_deployments_total"] == 2
    assert found["prefect_flows_total"] == 1
    assert found["prefect_flow_runs_total"] == 12
    assert found["prefect_flow_run_state_total{Completed}"] == 10
    assert found["prefect_flow_run_state_total{Failed}"] == 0
    assert found["prefect_flow_run_state_past_24_hours_total{Completed}"] == 7
    assert found["prefect_work_queues_total"] == 1
    assert found["deployctl_server_late_runs"] == 2
    assert found["deployctl_server_max_lateness_seconds"] == 90
    assert found["deployctl_server_up"] == 1
    assert found["prefect_info_work_pools{null,False,READY,process,p-1,p,null}"] == 1
    queue = "null,null,null,null,True,null,null,1,null,null,null,p,q,default"
    assert found[f"prefect_info_work_queues{{{queue}}}"] == 0
    daily = "null,d-1,daily,f-1,etl,null,None,False,null,null,null"
    orphan = "null,d-2,orphan,f-2,null,null,null,null,null,null,null"
    assert found[f"prefect_info_deployment{{{daily}}}"] == 1
    assert found[f"prefect_info_deployment{{{orphan}}}"] == 1


def test_names_and_labels_are_those_of_the_exporter() -> None:
    """prometheus-prefect-exporter as of 2026: dashboards for it name them."""
    assert {name: tuple(labels) for name, labels in INFO_LABELS.items()} == {
        "prefect_info_deployment": (
            *("created", "flow_id", "flow_name", "deployment_id", "is_schedule_active"),
            *("deployment_name", "path", "paused", "work_pool_name", "work_queue_name", "status"),
        ),
        "prefect_info_flows": ("created", "flow_id", "flow_name"),
        "prefect_info_work_pools": (
            *("created", "work_queue_id", "work_pool_id", "is_paused", "work_pool_name", "type"),
            "status",
        ),
        "prefect_info_work_queues": (
            *("created", "work_queue_id", "is_paused", "work_queue_name", "priority", "type"),
            *("work_pool_id", "work_pool_name", "status", "healthy", "late_runs_count"),
            *("last_polled", "health_check_policy_maximum_late_runs"),
            "health_check_policy_maximum_seconds_since_last_polled",
        ),
    }
    assert {name.value for name in ServerMetric if name.startswith("prefect_")} == {
        *("prefect_deployments_total", "prefect_flows_total", "prefect_flow_runs_total"),
        *("prefect_work_pools_total", "prefect_work_queues_total", *INFO_LABELS),
        *("prefect_flow_run_state_total", "prefect_flow_run_state_past_24_hours_total"),
    }


class Failing:
    """A reading that fails while `error` is set."""

    def __init__(self) -> None:
        self.error: DeployctlError | None = None
        self.count = 0

    def __call__(self) -> ServerSample:
        self.count += 1
        if self.error:
            raise self.error
        return ServerSample(flows=[{}])


def test_server_is_read_once_per_interval() -> None:
    read, now = Failing(), [0.0]
    gauges = ServerGauges(read, 30, clock=lambda: now[0])
    for _ in range(3):
        gauges.text()
    assert read.count == 1
    now[0] = 30.0
    gauges.text()
    assert read.count == 2


def test_failing_server_leaves_no_old_values_and_is_not_read_more_often() -> None:
    read, now = Failing(), [0.0]
    changes: list[Any] = []
    gauges = ServerGauges(read, 30, changes.append, clock=lambda: now[0])
    assert samples(gauges.text())["prefect_flows_total"] == 1
    read.error, now[0] = Unreachable("gone"), 31.0
    for _ in range(3):
        assert samples(gauges.text()) == {"deployctl_server_up": 0}
    assert (read.count, changes) == (2, [read.error])
    now[0] = 62.0
    gauges.text()
    read.error, now[0] = None, 93.0
    assert samples(gauges.text())["deployctl_server_up"] == 1
    assert changes[1:] == [None]
