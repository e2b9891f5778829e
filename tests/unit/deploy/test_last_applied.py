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


def answered(talk: ApiCall[LastApplied], answer: Json) -> LastApplied:
    next(talk)
    with pytest.raises(StopIteration) as stop:
        talk.send([answer])
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
def test_a_project_has_a_key_of_its_own_that_the_server_takes(project: str, key: str) -> None:
    assert artifact_key(project).rsplit("-", 1)[0] == key.rsplit("-", 1)[0]
    assert all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in artifact_key(project))


def test_names_that_look_alike_have_different_keys() -> None:
    names = ["etl", "ETL", "e tl", "é tl", "資料", "数据", "-etl"]
    assert len({artifact_key(name) for name in names}) == len(names)


def test_a_claim_adds_and_never_takes_away() -> None:
    record = daily(tags=["a"]).add([deployment(KEY, {"paused": True}, [])])
    assert record.declared("deployment", KEY) == {"tags", "paused", "automation"}


def test_settling_forgets_what_is_no_longer_declared_of_the_applied_ones_alone() -> None:
    other = deployment(("hello", "weekly"), {"tags": []}, None)
    pool = work_pool({"name": "hello", "queues": [{"name": "q"}]})
    record = daily(tags=["a"], schedules=[{"schedule": {"cron": "@daily"}}]).add([other, pool])
    settled = record.replace([deployment(KEY, {"paused": True}, None)])
    assert settled.declared("deployment", KEY) == {"paused"}
    assert "schedule" not in settled.resources
    assert settled.declared("deployment", other.key) == {"tags"}
    assert settled.resources["work_queue"] == record.resources["work_queue"]


def test_a_record_comes_back_from_the_server_as_it_was_written() -> None:
    record = daily(tags=["secret"], schedules=[{"schedule": {"cron": "@daily"}, "slug": "a/b"}])
    (request,) = next(write_last_applied("etl", record))
    assert "secret" not in str(request.body)
    again = answered(read_last_applied("etl"), {"data": request.body["data"]})
    assert again.resources == record.resources


def test_without_a_record_nothing_was_declared() -> None:
    assert answered(read_last_applied("etl"), None).declared("deployment", KEY) == frozenset()


def test_a_record_of_another_format_is_refused() -> None:
    talk = read_last_applied("etl")
    next(talk)
    with pytest.raises(DeployctlError, match="newer deployctl"):
        talk.send([{"data": {"format": 99, "items": {}}}])


@pytest.mark.parametrize(("arrived", "sent"), [(True, 1), (False, 2)])
def test_a_record_whose_answer_was_lost_is_looked_for_before_it_is_sent_again(
    arrived: bool, sent: int
) -> None:
    talk = write_last_applied("etl", daily(tags=["a"]))
    (request,) = next(talk)
    assert not request.idempotent
    (look,) = talk.throw(LostResponse("gone"))
    assert look.method == "GET"
    posts = 1
    try:
        (again,) = talk.send([{"data": request.body["data"]} if arrived else None])
        posts += again == request
        talk.send([{}])
    except StopIteration:
        pass
    assert posts == sent
