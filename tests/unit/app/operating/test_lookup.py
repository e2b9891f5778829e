"""Names on the command line, looked up on the server."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deployctl.api.calls import Request
from deployctl.app.operating.lookup import (
    AmbiguousName,
    NoRunStarted,
    ObjectNotFound,
    find_deployment,
    find_pool,
    find_run,
    is_id,
)
from deployctl.core.json_values import Json
from tests.unit.app.fake_driver import run_with

ID = "0190a1b2-0000-7000-8000-000000000001"
FLOWS = [{"id": "f-1", "name": "etl"}, {"id": "f-2", "name": "report"}]
DEPLOYMENTS = [
    {"id": ID, "name": "daily", "flow_id": "f-1"},
    {"id": "d-2", "name": "daily", "flow_id": "f-2"},
    {"id": "d-3", "name": "hourly", "flow_id": "f-2"},
    {"id": "d-4", "name": "new", "flow_id": "f-2"},
]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def flow_run(id_: str, name: str, deployment: str, state: str, hour: int) -> Json:
    start = NOW.replace(hour=hour).isoformat()
    run = {"id": id_, "name": name, "deployment_id": deployment, "state_type": state}
    return {**run, "expected_start_time": start}


RUNS = [
    flow_run("r-1", "nightly", "d-3", "COMPLETED", 10),
    flow_run("r-2", "nightly", "d-3", "SCHEDULED", 13),
    flow_run("r-3", "alone", "d-3", "RUNNING", 9),
    flow_run("r-4", "waits", "d-2", "SCHEDULED", 13),
    flow_run("r-5", "manual", ID, "COMPLETED", 10),
    flow_run("r-6", "pushed", ID, "SCHEDULED", 11),
    flow_run("r-7", "older", ID, "SCHEDULED", 9),
    flow_run("r-8", "first", "d-4", "SCHEDULED", 11),
]


def server(request: Request) -> Json:
    """Two flows, four deployments, eight runs, newest first, and two pools."""
    filters = request.body or {}
    match request.path.strip("/").split("/"):
        case ["deployments", "name", flow, name]:
            return next((d for d in DEPLOYMENTS if full_name(d) == f"{flow}/{name}"), None)
        case ["deployments", "filter"]:
            names = filters.get("deployments", {}).get("name", {}).get("any_")
            return [d for d in DEPLOYMENTS if names is None or d["name"] in names]
        case ["deployments", one]:
            return next((d for d in DEPLOYMENTS if d["id"] == one), None)
        case ["flows", "filter"]:
            return [f for f in FLOWS if f["id"] in filters["flows"]["id"]["any_"]]
        case ["flow_runs", "filter"]:
            return [r for r in RUNS if matches(r, filters["flow_runs"])][: filters["limit"]]
        case ["work_pools", "filter"]:
            return [{"name": "kube"}, {"name": "local"}]
    return None


def full_name(deployment: Json) -> str:
    return (
        f"{next(f['name'] for f in FLOWS if f['id'] == deployment['flow_id'])}/{deployment['name']}"
    )


def matches(run: Json, filters: Json) -> bool:
    if "name" in filters:
        return run["name"] in filters["name"]["any_"]
    types, span = filters["state"]["type"]["any_"], filters.get("expected_start_time", {})
    start = run["expected_start_time"]
    return (
        run["deployment_id"] in filters["deployment_id"]["any_"]
        and run["state_type"] in types
        and span.get("after_", start) <= start <= span.get("before_", start)
    )


@pytest.mark.parametrize(
    ("name", "found"),
    [("etl/daily", "etl/daily"), ("hourly", "report/hourly"), (ID, "etl/daily")],
)
def test_finds_deployment_by_full_name_name_or_id(name: str, found: str) -> None:
    assert run_with(find_deployment(name), server)["full_name"] == found


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("etl/dayly", "Did you mean 'etl/daily'?"),
        ("hourli", "Did you mean 'hourly'?"),
        ("zzz", "There are: etl/daily, report/daily, report/hourly, report/new."),
        ("0190a1b2-0000-7000-8000-00000000000f", "There are"),
    ],
)
def test_unknown_deployment_suggests_similar_name(name: str, hint: str) -> None:
    with pytest.raises(ObjectNotFound) as error:
        run_with(find_deployment(name), server)
    assert hint in (error.value.help or "")


def test_ambiguous_deployment_name_needs_full_name() -> None:
    with pytest.raises(AmbiguousName) as error:
        run_with(find_deployment("daily"), server)
    assert "etl/daily, report/daily" in (error.value.help or "")


@pytest.mark.parametrize(
    ("name", "found", "several"),
    [("nightly", "r-1", True), ("alone", "r-3", False), ("waits", "r-4", False)],
)
def test_run_name_means_newest_run(name: str, found: str, several: bool) -> None:
    resolved = run_with(find_run(name, NOW), server)
    assert (resolved.run["id"], resolved.is_newest, resolved.is_latest) == (found, several, False)


@pytest.mark.parametrize(
    ("name", "found", "latest", "waiting"),
    [
        ("report/hourly", "r-1", True, None),
        ("etl/daily", "r-5", True, "r-6"),
        ("report/new", "r-8", False, None),
    ],
)
def test_deployment_name_means_run_that_started_last(
    name: str, found: str, latest: bool, waiting: str | None
) -> None:
    resolved = run_with(find_run(name, NOW), server)
    assert (resolved.run["id"], resolved.is_latest) == (found, latest)
    assert (resolved.waiting or {}).get("id") == waiting


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("nope", ObjectNotFound),
        ("report/nope", ObjectNotFound),
        ("0190a1b2-0000-7000-8000-00000000000f", ObjectNotFound),
        ("report/daily", NoRunStarted),
    ],
)
def test_unknown_run(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        run_with(find_run(name, NOW), server)


def test_unknown_pool_suggests_similar_name() -> None:
    with pytest.raises(ObjectNotFound) as error:
        run_with(find_pool("kub"), server)
    assert error.value.help == "Did you mean 'kube'?"


@pytest.mark.parametrize(("text", "expected"), [(ID, True), (ID.upper(), True), ("a" * 32, False)])
def test_id_has_dashes(text: str, expected: bool) -> None:
    assert is_id(text) is expected
