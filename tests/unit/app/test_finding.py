from __future__ import annotations

import pytest

from deployctl.api.talk import Request
from deployctl.app.finding import (
    Ambiguous,
    NotRunYet,
    NotThere,
    find_deployment,
    find_pool,
    find_run,
    is_id,
)
from deployctl.core.values import Json
from tests.unit.app.held import held

ID = "0190a1b2-0000-7000-8000-000000000001"
FLOWS = [{"id": "f-1", "name": "etl"}, {"id": "f-2", "name": "report"}]
DEPLOYMENTS = [
    {"id": ID, "name": "daily", "flow_id": "f-1"},
    {"id": "d-2", "name": "daily", "flow_id": "f-2"},
    {"id": "d-3", "name": "hourly", "flow_id": "f-2"},
]
RUNS = [
    {"id": "r-1", "name": "nightly", "deployment_id": "d-3", "state_type": "COMPLETED"},
    {"id": "r-2", "name": "nightly", "deployment_id": "d-3", "state_type": "SCHEDULED"},
    {"id": "r-3", "name": "alone", "deployment_id": "d-3", "state_type": "RUNNING"},
    {"id": "r-4", "name": "waits", "deployment_id": "d-2", "state_type": "SCHEDULED"},
]


def server(request: Request) -> Json:
    """Two flows, three deployments, four runs, newest first, and two pools."""
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
            return [r for r in RUNS if fits(r, filters["flow_runs"])][: filters["limit"]]
        case ["work_pools", "filter"]:
            return [{"name": "kube"}, {"name": "local"}]
    return None


def full_name(deployment: Json) -> str:
    return (
        f"{next(f['name'] for f in FLOWS if f['id'] == deployment['flow_id'])}/{deployment['name']}"
    )


def fits(run: Json, filters: Json) -> bool:
    if "name" in filters:
        return run["name"] in filters["name"]["any_"]
    types = filters["state"]["type"]["any_"]
    return run["deployment_id"] in filters["deployment_id"]["any_"] and run["state_type"] in types


@pytest.mark.parametrize(
    ("name", "found"),
    [("etl/daily", "etl/daily"), ("hourly", "report/hourly"), (ID, "etl/daily")],
)
def test_a_deployment_is_found_by_full_name_name_or_id(name: str, found: str) -> None:
    assert held(find_deployment(name), server)["full_name"] == found


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("etl/dayly", "did you mean 'etl/daily'?"),
        ("hourli", "did you mean 'hourly'?"),
        ("zzz", "There are: etl/daily, report/daily, report/hourly."),
        ("0190a1b2-0000-7000-8000-00000000000f", "There are"),
    ],
)
def test_of_a_deployment_that_is_not_there_the_closest_is_named(name: str, hint: str) -> None:
    with pytest.raises(NotThere) as error:
        held(find_deployment(name), server)
    assert hint in (error.value.help or "")


def test_a_name_of_several_deployments_has_to_be_said_in_full() -> None:
    with pytest.raises(Ambiguous) as error:
        held(find_deployment("daily"), server)
    assert "etl/daily, report/daily" in (error.value.help or "")


@pytest.mark.parametrize(
    ("name", "found", "several"),
    [("nightly", "r-1", True), ("alone", "r-3", False), ("report/hourly", "r-1", False)],
)
def test_a_run_is_the_newest_of_its_name_or_the_latest_of_a_deployment(
    name: str, found: str, several: bool
) -> None:
    run, one_of_several = held(find_run(name), server)
    assert (run["id"], one_of_several) == (found, several)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("nope", NotThere),
        ("report/nope", NotThere),
        ("0190a1b2-0000-7000-8000-00000000000f", NotThere),
        ("report/daily", NotRunYet),
    ],
)
def test_a_run_that_is_not_there(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        held(find_run(name), server)


def test_of_a_pool_that_is_not_there_the_closest_is_named() -> None:
    with pytest.raises(NotThere) as error:
        held(find_pool("kub"), server)
    assert error.value.help == "did you mean 'kube'?"


@pytest.mark.parametrize(("text", "is_one"), [(ID, True), (ID.upper(), True), ("a" * 32, False)])
def test_an_id_is_written_with_its_dashes(text: str, is_one: bool) -> None:
    assert is_id(text) is is_one
