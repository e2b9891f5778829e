from __future__ import annotations

from dataclasses import replace

import pytest

from deployctl.core.json_values import Json
from deployctl.deploy.desired import deployment, work_pool
from deployctl.deploy.model import Change, Op, Resource
from deployctl.deploy.plan import compare, plan
from deployctl.deploy.resources import RESOURCE_KINDS
from deployctl.project.triggers import automations
from deployctl.steps.pull import declared_pull
from deployctl.templating.values import Unknown
from tests.unit.deploy.answers import (
    CODE,
    KEY,
    NOTHING,
    V2,
    V3,
    change,
    cron,
    live,
    schedule,
)


@pytest.mark.parametrize(
    ("fields", "live_values"),
    [
        ({}, {}),
        ({"tags": ["a", "b"]}, {"tags": ["b", "a"]}),
        ({"description": None}, {"description": "None"}),
        ({"description": ""}, {"description": None}),
        ({"parameters": {}}, {"parameters": None}),
        ({"concurrency_limit": 3}, {"global_concurrency_limit": {"limit": 3, "name": "x"}}),
        (
            {"concurrency_options": {"collision_strategy": "ENQUEUE"}},
            {
                "concurrency_options": {
                    "collision_strategy": "ENQUEUE",
                    "grace_period_seconds": None,
                }
            },
        ),
        (
            {"schedules": [{"schedule": {"cron": "0 1 * * *"}}]},
            {"schedules": [cron("s1", "0 1 * * *", active=False)]},
        ),
        (
            {"schedules": [{"schedule": {"cron": "0 1 * * *", "timezone": "UTC"}}]},
            {"schedules": [cron("s1", "0  1 * * *")]},
        ),
        (
            {"schedules": [{"schedule": {"interval": 3600.0}}]},
            {
                "schedules": [
                    schedule(
                        "s1",
                        schedule={
                            "interval": 3600.0,
                            "anchor_date": "2026-01-01T00:00:00Z",
                            "timezone": "UTC",
                        },
                    )
                ]
            },
        ),
        (
            {"schedules": [{"schedule": {"rrule": "FREQ=DAILY"}}]},
            {
                "schedules": [
                    schedule(
                        "s1",
                        schedule={
                            "rrule": "DTSTART:20200101T000000\nFREQ=DAILY",
                            "timezone": "UTC",
                        },
                    )
                ]
            },
        ),
    ],
)
def test_values_with_equal_meaning_are_no_change(fields: Json, live_values: Json) -> None:
    assert not change(fields, live(**live_values)).is_needed


@pytest.mark.parametrize(
    ("fields", "live_values", "changed"),
    [
        ({"tags": ["a"]}, {}, [("tags", [], ["a"])]),
        ({"paused": True}, {}, [("paused", False, True)]),
        ({"paused": False}, {"paused": True}, [("paused", True, False)]),
        (
            {"concurrency_limit": None},
            {"global_concurrency_limit": {"limit": 3}},
            [("concurrency_limit", 3, None)],
        ),
        (
            {"job_variables": {}},
            {"job_variables": {"image": "x"}},
            [("job_variables", {"image": "x"}, {})],
        ),
        ({"work_queue_name": "fast"}, {}, [("work_queue_name", "default", "fast")]),
        ({"description": "new"}, {"description": "old"}, [("description", "old", "new")]),
    ],
)
def test_declared_field_that_differs_is_changed(
    fields: Json, live_values: Json, changed: list[Json]
) -> None:
    found = change(fields, live(**live_values))
    assert [(part.field, part.old, part.new) for part in found.fields] == changed


@pytest.mark.parametrize("field", ["tags", "description", "parameters", "job_variables"])
def test_unknown_value_is_a_change(field: str) -> None:
    (changed,) = change({field: Unknown("build", "tag")}, live()).fields
    assert (changed.field, changed.new) == (field, Unknown("build", "tag"))


def test_list_with_unknown_item_is_a_change() -> None:
    tags: Json = ["a", Unknown("build", "tag")]
    assert change({"tags": tags}, live(tags=["a", "b"])).op is Op.UPDATE


def test_undeclared_field_is_left_alone() -> None:
    touched = live(paused=True, tags=["ui"], description="ui", parameters={"x": 1})
    assert not change({}, touched).is_needed


@pytest.mark.parametrize(
    ("name", "value", "default"),
    [
        ("tags", ["a"], []),
        ("paused", True, False),
        ("description", "d", None),
        ("parameters", {"x": 1}, {}),
        ("enforce_parameter_schema", False, True),
        ("work_queue_name", "fast", "default"),
    ],
)
def test_field_that_is_no_longer_declared_is_reset(name: str, value: Json, default: Json) -> None:
    found = change({}, live(**{name: value}), declared=frozenset({name}))
    assert [(part.field, part.new) for part in found.fields] == [(name, default)]


def test_inferred_version_is_sent_only_with_other_changes() -> None:
    def found(tags: list[str]) -> Change:
        fields = {**CODE, "version": "abc", "tags": tags}
        want = deployment(KEY, fields, None, passive=frozenset({"version"}))
        return compare(want, live(version="old"), lambda *_: NOTHING, V3)

    assert not found([]).is_needed
    assert [part.field for part in found(["a"]).fields] == ["version", "tags"]


def test_patch_sends_all_declared_fields_and_pool_with_queue() -> None:
    found = change({"tags": ["a"]}, live(work_queue_name="fast"))
    (request,) = next(RESOURCE_KINDS["deployment"].write(found, "", V3))
    assert (request.method, request.path) == ("PATCH", "/deployments/d-1")
    assert request.body == {**CODE, "tags": ["a"], "work_queue_name": "fast"}


@pytest.mark.parametrize(
    ("declared", "deleted"),
    [({"schedules": []}, True), ({}, True), ({"schedules": None}, False)],
)
def test_null_keeps_schedules_that_an_earlier_apply_declared(
    declared: dict[str, Json], deleted: bool
) -> None:
    """As Prefect 3.9 documents it, whoever wrote them."""
    present = live(V3, schedules=[cron("s1", "0 1 * * *")])
    desired = deployment(KEY, {**CODE, **declared}, None)
    found = compare(desired, present, lambda *_: frozenset({"schedule"}), V3)
    ops = [child.op for child in found.children]
    assert ops == ([Op.DELETE] if deleted else [])


def test_upsert_repeats_current_values_and_schedules() -> None:
    have = live(
        V2,
        infra_overrides={"image": "x"},
        pull_steps=[{"a.b": {}}],
        paused=True,
        parameters={"x": 1},
        schedules=[cron("s1", "0 1 * * *", active=False)],
    )
    want = deployment(KEY, {**CODE, "pull_steps": []}, None)
    found = compare(want, have, lambda *_: NOTHING, V2)
    (request,) = next(RESOURCE_KINDS["deployment"].write(found, "", V2))
    assert (request.method, request.path) == ("POST", "/deployments/")
    assert request.body["pull_steps"] == []
    assert request.body["paused"] is True
    assert request.body["parameters"] == {"x": 1}
    assert request.body["infra_overrides"] == {"image": "x"}
    assert request.body["schedules"] == [
        {
            "schedule": {"cron": "0 1 * * *", "timezone": None, "day_or": True},
            "active": False,
            "max_scheduled_runs": None,
        }
    ]
    assert any("recreated" in note for note in found.notes)


def test_two_automations_with_one_name_are_both_removed() -> None:
    twins = tuple(Resource("automation", (*KEY, "a"), {}, id=f"a-{n}") for n in (1, 2))
    want = deployment(KEY, CODE, [])
    have = replace(live(), children=twins)
    found = compare(want, have, lambda *_: NOTHING, V3)
    assert [(child.op, child.current and child.current.id) for child in found.children] == [
        (Op.DELETE, "a-1"),
        (Op.DELETE, "a-2"),
    ]


def test_move_to_another_pool_leaves_the_queue() -> None:
    have = live(V2, work_queue_name="fast", pull_steps=[{"a.b": {}}])
    want = deployment(KEY, {**CODE, "work_pool_name": "other", "pull_steps": []}, None)
    found = compare(want, have, lambda *_: NOTHING, V2)
    (request,) = next(RESOURCE_KINDS["deployment"].write(found, "", V2))
    assert request.body["work_pool_name"] == "other"
    assert "work_queue_name" not in request.body


def test_undeclared_queues_are_left_alone() -> None:
    queue = Resource("work_queue", ("p", "ui"), {"priority": 1}, id="q-1")
    have = Resource("work_pool", ("p",), {}, (queue,), id="p-1")
    want = work_pool({"name": "p", "queues": [{"name": "fast", "priority": 1}]})
    found = compare(want, have, lambda *_: NOTHING, V3)
    assert [(child.name, child.op) for child in found.children] == [("p/fast", Op.CREATE)]


def test_pools_are_planned_before_deployments() -> None:
    desired_list = [deployment(KEY, CODE, None), work_pool({"name": "pool"})]
    made = plan(desired_list, [], lambda *_: NOTHING, V3)
    assert [c.kind for c in made.changes] == ["work_pool", "deployment"]


def test_tags_of_an_automation_are_left_alone() -> None:
    (body,) = automations("daily", [{"expect": ["a"]}])
    actions = [{**body["actions"][0], "deployment_id": "d-1"}]
    on_server = {**body, "id": "a-1", "actions": actions, "tags": ["from the UI"]}
    found = compare(deployment(KEY, CODE, [body]), live(V3, [on_server]), lambda *_: NOTHING, V3)
    assert not found.is_needed


@pytest.mark.parametrize(("path", "op"), [(None, Op.UPDATE), ("/opt/prefect", Op.NONE)])
def test_path_of_prefect_2_stands_for_no_pull_steps(path: str | None, op: Op) -> None:
    declared = {**CODE, "pull_steps": declared_pull([], 2)}
    have = live(V2, pull_steps=[], path=path)
    change = compare(deployment(KEY, declared, None), have, lambda *_: NOTHING, V2)
    assert change.op is op
    assert change.desired is not None
    assert ("pull_steps" in change.desired.fields) is (op is Op.UPDATE)
