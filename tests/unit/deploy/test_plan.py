from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployctl.core.json_values import Json
from deployctl.deploy.desired import deployment, work_pool
from deployctl.deploy.model import Change, Op, Resource
from deployctl.deploy.plan import compare, plan
from deployctl.deploy.resources import RESOURCE_KINDS
from deployctl.templating.values import Unknown
from tests.unit.deploy.answers import KEY, SCHEMA, V2, V3, cron, live, schedule

NOTHING = frozenset[str]()

CODE = {"entrypoint": "a.py:hello", "parameter_openapi_schema": SCHEMA, "work_pool_name": "pool"}


def change(fields: Json, have: Resource | None, declared: frozenset[str] = NOTHING) -> Change:
    want = deployment(KEY, {**CODE, **fields}, None)
    return compare(want, have, lambda kind, _: declared if kind == "deployment" else NOTHING, V3)


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


def test_unknown_schedule_is_a_change() -> None:
    unknown: Json = [{"schedule": {"cron": Unknown("build", "cron")}}]
    found = change({"schedules": unknown}, live(schedules=[cron("s1", "0 1 * * *")]))
    assert [child.op for child in found.children] == [Op.UPDATE]


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


def test_undeclared_schedules_stay() -> None:
    assert not change({}, live(schedules=[cron("s1", "0 1 * * *")])).is_needed


def test_empty_list_removes_schedules() -> None:
    found = change({"schedules": []}, live(schedules=[cron("s1", "0 1 * * *", slug="a")]))
    assert [(child.op, child.current and child.current.id) for child in found.children] == [
        (Op.DELETE, "s1")
    ]


def test_schedules_that_are_no_longer_declared_are_removed() -> None:
    have = live(schedules=[cron("s1", "0 1 * * *")])
    found = change({}, have, declared=frozenset({"schedule"}))
    assert [child.op for child in found.children] == [Op.DELETE]


@pytest.mark.parametrize(
    ("desired_list", "there", "ops"),
    [
        pytest.param(
            [{"schedule": {"cron": "0 2 * * *"}}],
            [cron("s1", "0 1 * * *", active=False)],
            [("s1", Op.UPDATE)],
            id="an edited schedule keeps its id and its toggle",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 2 * * *"}, "slug": "a"}],
            [cron("s1", "0 1 * * *", slug="a"), cron("s2", "0 2 * * *", slug="b")],
            [("s1", Op.UPDATE), ("s2", Op.DELETE)],
            id="the slug decides, not the content",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 1 * * *"}, "slug": "a"}],
            [cron("s1", "0 1 * * *")],
            [("s1", Op.UPDATE)],
            id="a schedule that gets a slug stays",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 9 * * *"}, "slug": "new", "replaces": "old"}],
            [cron("s1", "0 1 * * *", slug="old"), cron("s2", "0 9 * * *", slug="x")],
            [("s1", Op.UPDATE), ("s2", Op.DELETE)],
            id="a replaced slug is renamed",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 1 * * *"}}, {"schedule": {"cron": "0 1 * * *"}}],
            [cron("s1", "0 1 * * *")],
            [("s1", Op.NONE), (None, Op.CREATE)],
            id="equal schedules are counted",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 3 * * *"}}, {"schedule": {"cron": "0 1 * * *"}}],
            [cron("s1", "0 1 * * *"), cron("s2", "0 2 * * *")],
            [("s2", Op.UPDATE), ("s1", Op.NONE)],
            id="equal ones are matched before edited ones",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 1 * * *"}, "active": True}],
            [cron("s1", "0 1 * * *", active=False)],
            [("s1", Op.UPDATE)],
            id="a declared toggle is enforced",
        ),
    ],
)
def test_schedules_are_reconciled_one_by_one(
    desired_list: list[Json], there: list[Json], ops: list[tuple[str | None, Op]]
) -> None:
    found = change({"schedules": desired_list}, live(schedules=there))
    assert [(c.current.id if c.current else None, c.op) for c in found.children] == ops


def test_changed_interval_without_anchor_keeps_current_anchor() -> None:
    anchored = {"interval": 3600.0, "anchor_date": "2026-01-01T00:00:00Z", "timezone": "UTC"}
    have = live(schedules=[schedule("s1", schedule=anchored)])
    found = change({"schedules": [{"schedule": {"interval": 60.0}}]}, have)
    (request,) = next(RESOURCE_KINDS["schedule"].write(found.children[0], "d-1", V3))
    assert request.body["schedule"] == {"interval": 60.0, "anchor_date": "2026-01-01T00:00:00Z"}


def test_patch_sends_all_declared_fields_and_pool_with_queue() -> None:
    found = change({"tags": ["a"]}, live(work_queue_name="fast"))
    (request,) = next(RESOURCE_KINDS["deployment"].write(found, "", V3))
    assert (request.method, request.path) == ("PATCH", "/deployments/d-1")
    assert request.body == {**CODE, "tags": ["a"], "work_queue_name": "fast"}


def test_upsert_repeats_current_values_and_schedules() -> None:
    have = live(
        V2,
        infra_overrides={"image": "x"},
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


def test_equal_intervals_are_distinguished_by_anchor() -> None:
    def anchored(day: int) -> dict[str, Json]:
        return {"interval": 3600.0, "anchor_date": f"2026-01-0{day}T00:00:00Z", "timezone": "UTC"}

    there = [schedule("s1", schedule=anchored(1)), schedule("s2", schedule=anchored(2))]
    found = change({"schedules": [{"schedule": anchored(2)}]}, live(schedules=there))
    assert [(c.current and c.current.id, c.op) for c in found.children] == [
        ("s2", Op.NONE),
        ("s1", Op.DELETE),
    ]


def test_move_to_another_pool_leaves_the_queue() -> None:
    have = live(V2, work_queue_name="fast")
    want = deployment(KEY, {**CODE, "work_pool_name": "other", "pull_steps": []}, None)
    found = compare(want, have, lambda *_: NOTHING, V2)
    (request,) = next(RESOURCE_KINDS["deployment"].write(found, "", V2))
    assert request.body["work_pool_name"] == "other"
    assert "work_queue_name" not in request.body


def test_run_limit_dropped_by_post_is_sent_again() -> None:
    fields = {**CODE, "schedules": [{"schedule": {"cron": "0 1 * * *"}, "max_scheduled_runs": 5}]}
    found = compare(deployment(KEY, fields, None), None, lambda *_: NOTHING, V3)
    api_call = RESOURCE_KINDS["deployment"].write(found, "", V3)
    next(api_call)
    api_call.send([{"id": "f-1"}])
    (request,) = api_call.send([{"id": "d-1", "schedules": [cron("s1", "0 1 * * *")]}])
    assert (request.method, request.path) == ("PATCH", "/deployments/d-1/schedules/s1")
    assert request.body == {"max_scheduled_runs": 5}


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


crons = st.sampled_from(["0 1 * * *", "0 2 * * *", "0 3 * * *", "@daily"])
slugs = st.sampled_from([None, None, "a", "b", "c"])


@st.composite
def schedule_lists(draw: st.DrawFn) -> list[tuple[str, str | None]]:
    found, used = [], set()
    for text, slug in draw(st.lists(st.tuples(crons, slugs), max_size=5)):
        if slug is None or slug not in used:
            used.add(slug)
            found.append((text, slug))
    return found


@given(schedule_lists(), schedule_lists())
def test_any_list_of_schedules_converges_to_any_other(
    before: list[tuple[str, str | None]], after: list[tuple[str, str | None]]
) -> None:
    there = [cron(f"s{n}", text, slug=slug) for n, (text, slug) in enumerate(before)]
    desired_list = [
        {"schedule": {"cron": text}} | ({"slug": slug} if slug else {}) for text, slug in after
    ]
    found = change({"schedules": desired_list}, live(schedules=there))
    result: dict[str, tuple[str, str | None]] = {}
    for child in found.children:
        if child.desired is not None:
            kept: Json = dict(child.current.fields) if child.current else {"slug": None}
            kept |= {part.field: part.new for part in child.fields}
            identity = child.current.id if child.current else f"new{len(result)}"
            assert identity not in result
            result[identity] = (kept["schedule"]["cron"], kept["slug"])
    untouched = {child.current.id for child in found.children if child.current}
    assert untouched == {item["id"] for item in there}
    assert sorted(text for text, _ in result.values()) == sorted(text for text, _ in after)
    assert {slug for _, slug in after if slug} <= {slug for _, slug in result.values()}
