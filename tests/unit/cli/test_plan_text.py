"""The text of a plan: creates in a table, updates field by field, equal ones together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rich.cells import cell_len

from deployctl.cli.render import CommandReport
from deployctl.cli.render import json as as_json
from deployctl.cli.render.layout import View
from deployctl.cli.render.plan import plan
from deployctl.cli.render.schemas import ABSENT, describe, schema_differences
from deployctl.core.json_values import Json
from deployctl.deploy.desired import deployment
from deployctl.deploy.model import Change, Plan, Resource
from deployctl.deploy.plan import DeclaredFields, compare
from tests.unit.deploy.answers import V3, answer, cron, live

NONE_DECLARED: DeclaredFields = lambda *_: frozenset()  # noqa: E731
STEP = "prefect.deployments.steps.git_clone"


def create(name: str, *, flow: str = "hello", **fields: Json) -> Change:
    common = {"entrypoint": "a.py:hello", "work_pool_name": "pool", **fields}
    return compare(deployment((flow, name), common, None), None, NONE_DECLARED, V3)


def update(
    name: str, fields: Json, declared: DeclaredFields = NONE_DECLARED, **live_: Json
) -> Change:
    desired = deployment(("hello", name), fields, None)
    current = live(**{**answer(), "name": name, **live_})
    return compare(desired, current, declared, V3)


def text(*changes: Change, view: View = View(), undeclared: Sequence[Resource] = ()) -> list[str]:  # noqa: B008
    report = CommandReport("plan", plan=Plan(changes, tuple(undeclared)))
    return [line.plain for line in plan(report, view)]


def hundred() -> list[Change]:
    return [
        create(
            f"d{number:03}",
            tags=["prod"],
            parameters={"customer": f"c{number}", "days": 7},
            job_variables={"env": {"LEVEL": "INFO"}, **({"memory": "8Gi"} if number == 9 else {})},
            schedules=[{"schedule": {"cron": f"{number % 60} 1 * * *"}}],
        )
        for number in range(100)
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_each_of_many_creates_has_one_line_that_fits(width: int) -> None:
    shown = text(*hundred(), view=View(width))
    assert len(shown) <= 120
    assert max(map(cell_len, shown)) <= width
    assert "    + hello/d009  cron 9 1 * * *   customer: c9, memory: 8Gi" in shown
    assert shown[-1] == "Plan: 100 to create, 0 unchanged."


def test_fields_that_most_creates_have_are_shown_once() -> None:
    shown = text(*hundred())
    for line in ("tags: [prod]", "days: 7", "LEVEL: INFO", "work_pool_name: pool"):
        assert sum(line in each for each in shown) == 1


def test_a_create_shows_where_it_differs_from_the_shared_fields() -> None:
    creates = [create(f"d{number}", tags=["a"]) for number in range(4)]
    shown = text(*creates, create("other", tags=["b"]), create("none"))
    assert "      each deployment, unless its line says otherwise:" in shown
    assert "    + hello/other  tags: [b]" in shown
    assert "    + hello/none   tags: none" in shown
    assert "    + hello/d0" in shown


@pytest.mark.parametrize("view", [View(), View(80, full=True)])
def test_fields_that_do_not_fit_follow_their_create_unless_the_view_cuts(view: View) -> None:
    long = {f"name-{number}": "x" * 30 for number in range(5)}
    creates = [create(f"d{n}", job_variables={"env": {**long, "n": n}}) for n in range(2)]
    creates += [create(f"e{n}", job_variables={"env": {"m": n} | long}) for n in range(1, 3)]
    creates += [create("f", parameters={f"key-{n}": "y" * 40 for n in range(5)})]
    shown = "\n".join(text(*creates, view=view))
    assert all(f"          {' ' * 2}key-{n}: {'y' * 40}" in shown for n in range(5))
    assert "…" not in shown


def test_few_creates_show_all_their_fields_as_yaml() -> None:
    shown = text(create("d", parameters={"a": {"b": [1, 2]}}))
    assert shown[:1] == ["  + deployment hello/d"]
    assert shown[2:5] == ["      parameters:", "        a:", "          b: [1, 2]"]


def test_equal_updates_stand_together() -> None:
    changes = [update(f"d{n}", {"description": "new"}, description="old") for n in range(40)]
    shown = text(*changes, view=View(80))
    assert shown[0] == "  ~ 40 deployments, with the same change:"
    assert sum("old → new" in line for line in shown) == 1
    assert all(f"hello/d{n}" in "\n".join(shown) for n in range(40))
    assert max(map(len, shown)) <= 80


@pytest.mark.parametrize(
    ("desired", "current", "lines"),
    [
        (
            {"job_variables": {"env": {"A": "1", "B": "2"}}},
            {"job_variables": {"env": {"A": "0", "C": "3"}}},
            [
                "~ job_variables.env.A  0 → 1",
                "- job_variables.env.C  3",
                "+ job_variables.env.B  2",
            ],
        ),
        (
            {"pull_steps": [{STEP: {"repository": "r", "branch": "dev"}}]},
            {"pull_steps": [{STEP: {"repository": "r", "branch": "main"}}]},
            ["~ pull_steps[0].git_clone.branch  main → dev"],
        ),
        (
            {"pull_steps": [{"b.c": {"x": 1}}, {STEP: {"repository": "r"}}]},
            {"pull_steps": [{STEP: {"repository": "r"}}]},
            ["+ pull_steps[0]", "    + b.c:", "    +   x: 1"],
        ),
        ({"description": ""}, {"description": "old"}, ['~ description  old → ""']),
        ({"tags": ["a"]}, {"tags": []}, ["~ tags  [] → [a]"]),
        (
            {"schedules": []},
            {"schedules": [cron("s1", "0 1 * * *", slug="night")]},
            ["- schedule night  cron 0 1 * * *"],
        ),
        (
            {"schedules": [{"schedule": {"cron": "0 2 * * *"}, "active": False}]},
            {"schedules": []},
            ["+ schedule  cron 0 2 * * * (active: false)"],
        ),
        (
            {"schedules": [{"schedule": {"cron": "0 2 * * *"}, "slug": "s"}]},
            {"schedules": [cron("s1", "0 1 * * *", slug="s")]},
            ["~ schedule s  cron 0 1 * * * → cron 0 2 * * *"],
        ),
    ],
)
def test_updates_show_each_part_that_differs(
    desired: Json, current: Json, lines: list[str]
) -> None:
    shown = text(update("d", desired, **current))
    assert [line[6:] for line in shown[1:-1] if "note:" not in line] == lines


def test_deleted_schedules_are_counted() -> None:
    gone = update("d", {"schedules": []}, schedules=[cron("s1", "0 1 * * *")])
    assert text(gone)[-1] == "Plan: 1 to update (1 schedule to delete), 0 unchanged."


SCHEMA = {
    "properties": {
        "days": {"type": "integer", "default": 30, "position": 0},
        "region": {"type": "string", "position": 1},
        "model": {"allOf": [{"$ref": "#/definitions/Model"}], "position": 2},
    },
    "required": ["region", "model"],
    "definitions": {"Model": {"properties": {"x": {"type": "integer"}}}},
}


def schema(**properties: Json) -> Json:
    return {**SCHEMA, "properties": {**SCHEMA["properties"], **properties}}  # type: ignore[dict-item]


def model(of: str) -> Json:
    return {"Model": {"properties": {"x": {"type": of}}}}


@pytest.mark.parametrize(
    ("new", "differences"),
    [
        (schema(days={"type": "integer", "default": 31}), [("parameter days: default", 30, 31)]),
        (
            schema(days={"type": "number", "default": 30}),
            [("parameter days: type", "integer", "number")],
        ),
        (
            schema(dry={"type": "boolean", "default": False}),
            [("parameter dry", ABSENT, "boolean = false")],
        ),
        (
            {**SCHEMA, "required": ["region", "model", "days"]},
            [("parameter days: required", False, True)],
        ),
        (
            schema(days={"type": "integer", "default": 30, "position": 9}),
            [("parameter days: position", 0, 9)],
        ),
        (
            {**SCHEMA, "definitions": model("string")},
            [("type Model", model("integer")["Model"], model("string")["Model"])],
        ),
    ],
)
def test_schemas_differ_parameter_by_parameter(new: Json, differences: list[Json]) -> None:
    assert schema_differences(SCHEMA, new) == differences


@pytest.mark.parametrize(
    ("parameter", "shown"),
    [
        ({"type": "array", "items": {"type": "string"}}, "array of string"),
        (
            {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
            "integer | null = null",
        ),
        ({"$ref": "#/definitions/Model"}, "Model"),
        ({"enum": ["a", "b"]}, "one of a, b"),
        ({"type": "string", "format": "date-time"}, "string (date-time)"),
        ({}, "any"),
    ],
)
def test_parameters_are_described_by_type_and_default(parameter: Json, shown: str) -> None:
    assert describe(parameter) == shown


def test_a_field_that_is_no_longer_declared_has_a_reason() -> None:
    reset = update("d", {}, lambda *_: frozenset({"tags"}), tags=["a"])
    shown = text(reset)
    assert "      ~ tags  [a] → []" in shown
    assert "          no longer declared, so it goes back to the default (DC521)" in shown
    assert '"reason"' in as_json.render(CommandReport("plan", plan=Plan((reset,))))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("s3cret", "{{ prefect.blocks.secret.key }}", "DC522"),
        ("img:1", "img:1@sha256:" + "0" * 64, "DC523"),
        ("img:1", "img:2", None),
        ("{{ prefect.variables.a }}", "{{ prefect.variables.b }}", None),
    ],
)
def test_a_difference_that_comes_from_deployctl_has_a_reason(
    old: str, new: str, code: str | None
) -> None:
    desired = {"job_variables": {"x": new}}
    shown = "\n".join(text(update("d", desired, job_variables={"x": old})))
    assert ("(DC52" in shown) == bool(code)
    assert code is None or code in shown


@pytest.mark.parametrize(
    ("current", "noted"),
    [
        ({"schedules": [cron("s1", "0 1 * * *")]}, True),
        ({"schedules": [cron("s1", "0 1 * * *", active=False)]}, False),
        ({"schedules": [cron("s1", "0 1 * * *")], "paused": True}, False),
        ({}, False),
    ],
)
def test_future_runs_are_mentioned_only_if_there_are_some(current: Json, noted: bool) -> None:
    shown = "\n".join(text(update("d", {"tags": ["x"]}, **current)))
    assert ("rescheduled" in shown) is noted


def test_long_values_are_cut_only_on_a_terminal_without_full() -> None:
    value = {"job_variables": {"command": {f"k{n}": "v" * 90 for n in range(40)}}}
    change = update("d", value)
    cut, whole, full = (text(change, view=view) for view in (View(80), View(), View(80, full=True)))
    assert max(map(len, cut)) == 80
    assert "          … 28 more lines (--full shows them)" in cut
    assert all(any(f"k{n}: {'v' * 90}" in line for line in whole) for n in range(40))
    assert sum("v" * 90 in line for line in full) == 40


def test_what_is_no_longer_declared_is_listed() -> None:
    schedules = [cron("s1", "0 1 * * *")]
    kept = live(**{**answer(), "name": "old", "schedules": schedules})
    paused = live(**{**answer(), "name": "rests", "schedules": schedules, "paused": True})
    shown = text(undeclared=[kept, paused])
    assert "  = deployment hello/old stays on the server and keeps its schedule" in shown
    assert "  = deployment hello/rests stays on the server" in shown
    several = [live(**{**answer(), "name": f"d{n}", "schedules": schedules}) for n in range(40)]
    start, *names, _ = text(undeclared=several)[1:]
    assert start == "  = 40 deployments stay on the server and keep their schedules:"
    assert names[0].startswith("      hello/d0, hello/d1, hello/d2")
    assert len(names) < 8
    report = CommandReport("plan", plan=Plan((), (kept,)))
    assert '"cron 0 1 * * *"' in as_json.render(report)
