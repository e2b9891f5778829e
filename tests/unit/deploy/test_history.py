"""What a revision records."""

from __future__ import annotations

from typing import Any

import pytest

from deployctl.core.json_values import Json
from deployctl.deploy.history import (
    Revision,
    UnknownRevision,
    find_revision,
    read_revisions,
    recorded_changes,
    revision_request,
)
from deployctl.deploy.model import Change, FieldChange, Op, Result, ResultStatus
from tests.unit.deploy.answers import KEY, change, cron, live


def revision(*changes: Change) -> Revision:
    """A revision with these changes, as it is read back from the server."""
    results = [Result(each, ResultStatus.APPLIED) for each in changes]
    written = Revision("deploy", "ann", "", recorded_changes(results))
    body: Any = revision_request("etl", written).body
    answer = {"data": body["data"], "id": "3fa2c1d0-1", "created": "2026-01-01T00:00:00Z"}
    reading = read_revisions("etl")
    next(reading)
    with pytest.raises(StopIteration) as done:
        reading.send([[answer]])
    (found,) = done.value.value
    assert isinstance(found, Revision)
    return found


def test_update_has_old_and_new_values() -> None:
    (found,) = revision(change({"tags": ["b"]}, live(tags=["a"]), frozenset({"tags"}))).changes
    assert (found.op, found.fields) == (Op.UPDATE, {"tags": (["a"], ["b"])})


def test_create_has_only_its_name_and_delete_everything() -> None:
    before = live(tags=["a"], schedules=[cron("s-1", "0 1 * * *")])
    created, deleted = revision(
        change({"tags": ["a"]}, None), Change("deployment", KEY, Op.DELETE, None, before)
    ).changes
    assert (created.op, created.key, created.fields, created.parts) == (Op.CREATE, KEY, {}, ())
    assert (deleted.op, deleted.fields["tags"]) == (Op.DELETE, (["a"], None))
    (schedule,) = deleted.parts
    assert (schedule.op, schedule.fields["schedule"][0]["cron"]) == (Op.DELETE, "0 1 * * *")


@pytest.mark.parametrize(
    ("old", "shown"),
    [
        ({"API_KEY": "s3cr3t", "A": "1"}, {"API_KEY": "********", "A": "1"}),
        ({"A": "Bearer ghp_s3cr3ts3cr3t"}, {"A": "********"}),
        ({"A": "run --token=ghp_s3cr3ts3cr3t"}, {"A": "********"}),
        ({"A": "task-12345678"}, {"A": "task-12345678"}),
        ({"A": "https://u:s3cr3t@host/"}, {"A": "********"}),
    ],
)
def test_masks_secrets(old: Json, shown: Json) -> None:
    before = live(job_variables={"env": old})
    found = revision(change({"job_variables": {"env": {}}}, before))
    assert "s3cr3t" not in str(found)
    assert found.changes[0].fields["job_variables"][0] == {"env": shown}


def test_masks_variable_with_a_secret_name() -> None:
    fields = (FieldChange("value", "s3cr3t-old", "s3cr3t-new"),)
    update = Change("variable", ("db_password",), Op.UPDATE, None, live(), fields)
    assert revision(update).changes[0].fields == {"value": ("********", "********")}


def test_too_large_revision_holds_names_only() -> None:
    before = live(description="x" * 2_100_000)
    found = revision(change({"description": "y"}, before))
    assert [(each.op, each.fields) for each in found.changes] == [(Op.UPDATE, {})]
    assert not found.has_values


@pytest.mark.parametrize(
    ("status", "done", "recorded"),
    [
        (ResultStatus.APPLIED, (), 1),
        (ResultStatus.FAILED, (), 0),
        (ResultStatus.FAILED, ("created deployment hello/daily",), 1),
        (ResultStatus.SKIPPED, (), 0),
        (ResultStatus.UNCHANGED, (), 0),
    ],
)
def test_records_what_was_written(
    status: ResultStatus, done: tuple[str, ...], recorded: int
) -> None:
    result = Result(change({}, None), status, done=done)
    assert len(recorded_changes([result])) == recorded


@pytest.mark.parametrize(
    ("start", "message"), [("", "not in"), ("3", "ambiguous"), ("4", "not in"), ("3FB", "")]
)
def test_finds_a_revision_by_the_start_of_its_id(start: str, message: str) -> None:
    known = [Revision("deploy", "ann", "", (), id=each) for each in ("3fa2", "3fb1")]
    if not message:
        assert find_revision("etl", known, start) is known[1]
    else:
        with pytest.raises(UnknownRevision, match=message):
            find_revision("etl", known, start)
