from __future__ import annotations

import pytest

from deployctl.api.calls import ApiCall
from deployctl.core.errors import DeployctlError, LostResponse
from deployctl.core.json_values import Json
from deployctl.deploy.desired import deployment, work_pool
from deployctl.deploy.last_applied import (
    LastApplied,
    artifact_key,
    read_last_applied,
    write_last_applied,
)
from tests.unit.deploy.answers import KEY


def answered(api_call: ApiCall[LastApplied], answer: Json) -> LastApplied:
    next(api_call)
    with pytest.raises(StopIteration) as stop:
        api_call.send([answer])
    record = stop.value.value
    assert isinstance(record, LastApplied)
    return record


def daily(**fields: Json) -> LastApplied:
    return LastApplied().add([deployment(KEY, fields, None)])


@pytest.mark.parametrize(
    ("project", "key"),
    [
        ("etl", "deployctl-etl"),
        ("my-etl-2", "deployctl-my-etl-2"),
        ("My ETL", "deployctl-my-etl-1cbf3ad0"),
        ("資料", "deployctl-6d0f4a2c"),
    ],
)
def test_artifact_key_is_valid_and_unique(project: str, key: str) -> None:
    assert artifact_key(project).rsplit("-", 1)[0] == key.rsplit("-", 1)[0]
    assert all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in artifact_key(project))


def test_similar_project_names_have_different_keys() -> None:
    names = ["etl", "ETL", "e tl", "é tl", "資料", "数据", "-etl"]
    assert len({artifact_key(name) for name in names}) == len(names)


def test_add_keeps_earlier_fields() -> None:
    record = daily(tags=["a"]).add([deployment(KEY, {"paused": True}, [])])
    assert record.declared("deployment", KEY) == {"tags", "paused", "automation"}


def test_replace_drops_undeclared_fields_of_applied_roots_only() -> None:
    other = deployment(("hello", "weekly"), {"tags": []}, None)
    pool = work_pool({"name": "hello", "queues": [{"name": "q"}]})
    record = daily(tags=["a"], schedules=[{"schedule": {"cron": "@daily"}}]).add([other, pool])
    settled = record.replace([deployment(KEY, {"paused": True}, None)])
    assert settled.declared("deployment", KEY) == {"paused"}
    assert "schedule" not in settled.resources
    assert settled.declared("deployment", other.key) == {"tags"}
    assert settled.resources["work_queue"] == record.resources["work_queue"]


def test_record_survives_a_round_trip() -> None:
    record = daily(tags=["secret"], schedules=[{"schedule": {"cron": "@daily"}, "slug": "a/b"}])
    (request,) = next(write_last_applied("etl", record))
    assert "secret" not in str(request.body)
    again = answered(read_last_applied("etl"), {"data": request.body["data"]})
    assert again.resources == record.resources


def test_missing_record_declares_nothing() -> None:
    assert answered(read_last_applied("etl"), None).declared("deployment", KEY) == frozenset()


def test_record_of_newer_format_is_refused() -> None:
    api_call = read_last_applied("etl")
    next(api_call)
    with pytest.raises(DeployctlError, match="newer deployctl"):
        api_call.send([{"data": {"format": 99, "items": {}}}])


@pytest.mark.parametrize(("arrived", "sent"), [(True, 1), (False, 2)])
def test_record_is_read_before_it_is_sent_again_after_a_lost_response(
    arrived: bool, sent: int
) -> None:
    api_call = write_last_applied("etl", daily(tags=["a"]))
    (request,) = next(api_call)
    assert not request.idempotent
    (look,) = api_call.throw(LostResponse("gone"))
    assert look.method == "GET"
    posts = 1
    try:
        (again,) = api_call.send([{"data": request.body["data"]} if arrived else None])
        posts += again == request
        api_call.send([{}])
    except StopIteration:
        pass
    assert posts == sent
