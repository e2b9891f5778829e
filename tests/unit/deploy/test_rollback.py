"""What a revision records, and the state before it."""

from __future__ import annotations

from typing import Any

import pytest

from deployctl.core.json_values import Json
from deployctl.deploy.history import (
    Revision,
    read_revisions,
    recorded_changes,
    revision_request,
)
from deployctl.deploy.last_applied import LastApplied
from deployctl.deploy.model import Change, Op, Resource, Result, ResultStatus
from deployctl.deploy.plan import compare, plan
from deployctl.deploy.rollback import Earlier, earlier
from tests.unit.deploy.answers import CODE, KEY, NOTHING, V3, change, cron, live

IDENTITY = ("deployment", KEY)
RECORD = LastApplied({"deployment": {KEY: frozenset({*CODE, "tags", "schedule"})}})


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


def ops(found: Earlier, *current: Resource) -> list[tuple[str, Op, list[tuple[str, Json]]]]:
    """What a rollback to this state does to the current resources."""
    planned = plan(found.desired, current, RECORD.declared, V3)
    return [
        (each.name, each.effective_op, [(part.field, part.new) for part in each.fields])
        for each in planned.needed
    ]


def test_changed_fields_go_back_and_others_stay() -> None:
    before = live(tags=["a"], description="mine")
    undone = revision(change({"tags": ["b"]}, before, frozenset({"tags"})))
    now = live(tags=["b"], description="by hand")
    found = earlier([undone], [now], RECORD, V3)
    assert ops(found, now) == [("hello/daily", Op.UPDATE, [("tags", ["a"])])]


def test_of_several_revisions_the_oldest_value_counts() -> None:
    first = revision(change({"tags": ["b"]}, live(tags=["a"]), frozenset({"tags"})))
    second = revision(change({"tags": ["c"]}, live(tags=["b"]), frozenset({"tags"})))
    now = live(tags=["c"])
    found = earlier([second, first], [now], RECORD, V3)
    assert ops(found, now) == [("hello/daily", Op.UPDATE, [("tags", ["a"])])]


def test_created_resource_is_deleted_and_deleted_one_created() -> None:
    created = revision(change({}, None))
    assert earlier([created], [live()], RECORD, V3).deleted == (live(),)
    assert earlier([created], [], RECORD, V3) == Earlier((), (), ())
    before = live(tags=["a"], schedules=[cron("s-1", "0 1 * * *")])
    deleted = revision(Change(*IDENTITY, Op.DELETE, None, before))
    (restored,) = earlier([deleted], [], LastApplied(), V3).desired
    assert restored.fields["tags"] == ["a"]
    assert [child.fields["schedule"]["cron"] for child in restored.children] == ["0 1 * * *"]


def test_resource_that_is_gone_cannot_go_back() -> None:
    undone = revision(change({"tags": ["b"]}, live(tags=["a"]), frozenset({"tags"})))
    found = earlier([undone], [], RECORD, V3)
    assert (found.desired, found.lost) == (
        (),
        ("deployment hello/daily was changed, and is gone by now",),
    )


@pytest.mark.parametrize(
    ("old", "current", "restored"),
    [
        ({"API_KEY": "s3cr3t", "A": "1"}, {"API_KEY": "new"}, {"API_KEY": "new", "A": "1"}),
        ({"API_KEY": "s3cr3t", "A": "1"}, {}, {"A": "1"}),
        ({"URL": "https://u:pass@host/"}, {"URL": "https://host/"}, {"URL": "https://host/"}),
        ({"LIST": [{"token": "s3cr3t"}]}, {"LIST": [{"token": "t"}]}, {"LIST": [{"token": "t"}]}),
    ],
)
def test_masked_values_keep_what_is_current(old: Json, current: Json, restored: Json) -> None:
    before = live(job_variables={"env": old})
    undone = revision(change({"job_variables": {"env": {"B": "2"}}}, before))
    assert "s3cr3t" not in str(undone)
    assert "pass" not in str(undone)
    now = live(job_variables={"env": current})
    found = earlier([undone], [now], RECORD, V3)
    assert found.desired[0].fields["job_variables"] == {"env": restored}
    assert found.lost == (
        "secrets in job_variables of deployment hello/daily keep their current values",
    )


def test_too_large_revision_holds_names_only() -> None:
    before = live(description="x" * 2_100_000)
    undone = revision(change({"description": "y"}, before))
    assert [(each.op, each.fields) for each in undone.changes] == [(Op.UPDATE, {})]
    assert not undone.has_values


@pytest.mark.parametrize("status", [ResultStatus.FAILED, ResultStatus.SKIPPED])
def test_what_was_not_written_is_no_part_of_a_revision(status: ResultStatus) -> None:
    assert recorded_changes([Result(change({}, None), status)]) == ()


def test_block_keeps_its_values() -> None:
    """No revision holds them, so a rollback must not write what stands for them."""
    there = Resource("block", ("secret", "token"), {"values": {"value": "(another value)"}})
    written = Resource("block", ("secret", "token"), {"values": {"value": "********"}})
    changed = compare(written, there, lambda *_: NOTHING, V3)
    found = earlier([revision(changed)], [there], RECORD, V3)
    assert (found.desired, found.lost) == ((), ("block secret/token keeps its values",))
