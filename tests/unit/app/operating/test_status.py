"""State of pools, deployments and stuck runs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deployctl.api.calls import Request
from deployctl.app.operating.lookup import ObjectNotFound
from deployctl.app.operating.status import (
    PoolStatus,
    Scope,
    Status,
    is_stuck,
    read_status,
    stuck_reason,
)
from deployctl.core.json_values import Json
from tests.unit.app.fake_driver import run_with

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
FLOWS = [{"id": "f-1", "name": "etl"}]
DEPLOYMENTS: list[Json] = [
    {"id": "d-1", "name": "daily", "flow_id": "f-1", "work_pool_name": "kube", "paused": False},
    {"id": "d-2", "name": "weekly", "flow_id": "f-1", "work_pool_name": "local", "paused": True},
]
POOLS: list[Json] = [
    {"name": "kube", "type": "kubernetes", "status": "READY", "is_paused": False},
    {"name": "local", "type": "process", "status": None, "is_paused": True},
    {"name": "other", "type": "docker", "status": "NOT_READY", "is_paused": False},
]
LATE: Json = {
    "id": "r-1",
    "name": "late-one",
    "deployment_id": "d-1",
    "state_type": "SCHEDULED",
    "state_name": "Late",
    "state": {"timestamp": "2030-01-01T11:59:00Z", "message": None},
    "expected_start_time": "2030-01-01T11:58:00Z",
}
DONE: Json = {
    "id": "r-0",
    "name": "done-one",
    "deployment_id": "d-1",
    "state_type": "COMPLETED",
    "state_name": "Completed",
    "state": {"timestamp": "2030-01-01T11:00:00Z"},
    "start_time": "2030-01-01T10:59:00Z",
}


def server(request: Request) -> Json:
    body = request.body
    match request.path.strip("/").split("/"):
        case ["deployments", "filter"]:
            pools = body.get("work_pools", {}).get("name", {}).get("any_")
            return [d for d in DEPLOYMENTS if pools is None or d["work_pool_name"] in pools]
        case ["flows", "filter"]:
            return FLOWS
        case ["work_pools", "filter"]:
            names = body.get("work_pools", {}).get("name", {}).get("any_")
            return [pool for pool in POOLS if names is None or pool["name"] in names]
        case ["work_pools", name, "workers", "filter"]:
            return [{}, {}] if name == "other" else []
        case ["work_pools", _, "queues", "filter"]:
            return []
        case ["flow_runs", "count"]:
            late = "name" in body["flow_runs"]["state"]
            return 1 if late and body["work_pools"]["name"]["any_"] == ["kube"] else 0
        case ["flow_runs", "filter"]:
            return runs(body)
    raise AssertionError(request)


def runs(body: Json) -> list[Json]:
    filters = body["flow_runs"]
    if "d-1" not in filters["deployment_id"]["any_"]:
        return []
    if filters["state"].get("name") == {"any_": ["Late"]}:
        return [LATE]
    return [DONE] if "COMPLETED" in filters["state"]["type"]["any_"] else []


def status(scope: Scope) -> Status:
    return run_with(read_status(scope, NOW), server)


@pytest.mark.parametrize(
    ("scope", "deployments", "pools"),
    [
        (Scope(), ["etl/daily", "etl/weekly"], ["kube", "local", "other"]),
        (Scope(names=("daily",)), ["etl/daily"], ["kube"]),
        (Scope(names=("etl/w*", "daily")), ["etl/daily", "etl/weekly"], ["kube", "local"]),
        (Scope(pool="local"), ["etl/weekly"], ["local"]),
        (Scope(pool="other"), [], ["other"]),
        (Scope(keys=(("etl", "daily"), ("etl", "new"))), ["etl/daily", "etl/new"], ["kube"]),
        (Scope(keys=()), [], []),
    ],
)
def test_scope_selects_deployments_and_their_pools(
    scope: Scope, deployments: list[str], pools: list[str]
) -> None:
    found = status(scope)
    assert [each.name for each in found.deployments] == deployments
    assert [each.name for each in found.pools] == pools


@pytest.mark.parametrize(
    ("scope", "hint"),
    [
        (Scope(names=("dayly",)), "Did you mean 'daily'?"),
        (Scope(pool="kub"), "Did you mean 'kube'?"),
    ],
)
def test_unknown_name_suggests_similar_one(scope: Scope, hint: str) -> None:
    with pytest.raises(ObjectNotFound) as error:
        status(scope)
    assert error.value.help == hint


def test_shows_last_run_and_deployments_that_are_not_deployed() -> None:
    daily, new = status(Scope(keys=(("etl", "daily"), ("etl", "new")))).deployments
    assert (daily.deployed, new.deployed) == (True, False)
    assert daily.last_run is not None
    assert (daily.last_run.name, daily.last_run.start) == ("done-one", DONE["start_time"])
    assert daily.next_run is None


def test_late_run_is_stuck_and_counted() -> None:
    found = status(Scope())
    (stuck,) = found.stuck
    assert (stuck.run.name, stuck.deployment, stuck.pool) == ("late-one", "etl/daily", "kube")
    assert stuck.reason == "no worker of the work pool 'kube' is online"
    assert [pool.late_runs for pool in found.pools] == [1, 0, 0]


@pytest.mark.parametrize(
    ("type_", "name", "since", "stuck"),
    [
        ("SCHEDULED", "Late", "2030-01-01T11:59:59Z", True),
        ("SCHEDULED", "Scheduled", "2029-12-01T00:00:00Z", False),
        ("PENDING", "Pending", "2030-01-01T11:54:59Z", True),
        ("PENDING", "Pending", "2030-01-01T11:55:01Z", False),
        ("RUNNING", "Running", "2029-12-01T00:00:00Z", False),
    ],
)
def test_run_is_stuck_if_late_or_claimed_for_five_minutes(
    type_: str, name: str, since: str, stuck: bool
) -> None:
    run = {"state_type": type_, "state_name": name, "state": {"timestamp": since}}
    assert is_stuck(run, NOW) is stuck


RETRIED = {"retry_type": "in_process"}


@pytest.mark.parametrize(
    ("run", "step", "reason"),
    [
        ({"state_type": "SCHEDULED", "empirical_policy": RETRIED}, "scheduled_time", "no worker"),
        ({"state_type": "SCHEDULED", "state_name": "Resuming"}, "scheduled_time", None),
        ({"state_type": "PAUSED"}, "pause_timeout", "its pause has timed out"),
        ({"state_type": "CANCELLING"}, "timestamp", "no process or worker ends it"),
        ({"state_type": "PENDING"}, "timestamp", None),
        ({"state_type": "RUNNING"}, "timestamp", None),
    ],
)
def test_run_is_stuck_if_its_process_or_worker_missed_its_step(
    run: Json, step: str, reason: str | None
) -> None:
    """Whoever left it: Prefect's workers do not look after such runs."""

    def after(due: str) -> bool:
        times = {"timestamp": due} if step == "timestamp" else {"state_details": {step: due}}
        return is_stuck({**run, "state": {"message": "the source is down", **times}}, NOW)

    moves = run["state_type"] == "RUNNING" or run.get("state_name") == "Resuming"
    assert [after("2030-01-01T11:54:59Z"), after("2030-01-01T11:55:01Z")] == [not moves, False]
    if reason is not None:
        found = stuck_reason({**run, "state": {"message": "the source is down"}}, None, None)
        assert found is not None
        assert reason in found
        assert "in the UI" in found


def test_a_pause_without_a_timeout_waits_for_its_user() -> None:
    state = {"timestamp": "2029-01-01T00:00:00Z", "state_details": {"pause_reschedule": True}}
    assert not is_stuck({"state_type": "PAUSED", "state": state}, NOW)


def pool_status(**fields: Json) -> PoolStatus:
    base = {"type": "kubernetes", "status": "READY", "paused": False, "concurrency_limit": None}
    return PoolStatus(
        name="p", **{**base, "workers_online": 1, "active_runs": 3, "late_runs": 0, **fields}
    )


@pytest.mark.parametrize(
    ("run", "work_pool", "queue", "expected"),
    [
        ({"state": {"message": "no image"}}, pool_status(paused=True), None, "no image"),
        (
            {"state": {"message": "claimed [deployctl a/b/c]"}},
            pool_status(paused=True),
            None,
            "claimed",
        ),
        ({}, pool_status(type="ecs:push", workers_online=0), None, None),
        ({}, pool_status(type="prefect:managed", workers_online=0), None, None),
        ({}, None, None, "it has no work pool"),
        ({}, pool_status(paused=True, workers_online=0), None, "the work pool 'p' is paused"),
        ({}, pool_status(), {"name": "q", "is_paused": True}, "the work queue 'q' is paused"),
        ({}, pool_status(workers_online=0), None, "no worker of the work pool 'p' is online"),
        (
            {},
            pool_status(concurrency_limit=3),
            None,
            "the work pool 'p' has reached its limit of 3",
        ),
        ({}, pool_status(concurrency_limit=4), None, None),
        (
            {},
            pool_status(),
            {"name": "q", "concurrency_limit": 0},
            "the work queue 'q' has a limit of 0",
        ),
        ({}, pool_status(), {"name": "q", "concurrency_limit": 3}, None),
        ({"state_type": "PENDING"}, pool_status(paused=True), None, None),
    ],
)
def test_stuck_reason_comes_from_state_pool_or_queue(
    run: Json, work_pool: PoolStatus | None, queue: Json, expected: str | None
) -> None:
    assert stuck_reason(run, work_pool, queue) == expected
