"""The flags of `prefect deploy`, laid over entries of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.core.errors import UsageError
from deployctl.core.json_values import Json
from deployctl.project.overrides import (
    Overrides,
    apply_overrides,
    parse_assignments,
    parse_definitions,
    parse_json_object,
    schedules,
)

ENTRY: dict[str, Json] = {
    "name": "d",
    "tags": ["old"],
    "parameters": {"a": 1, "b": 2},
    "work_pool": {"name": "p", "job_variables": {"image": "x", "env": {"A": "1"}}},
}
CASES: list[tuple[Overrides, dict[str, Json], dict[str, Json]]] = [
    (Overrides(), {}, {}),
    (Overrides(description="", version="2"), {}, {"description": "", "version": "2"}),
    (Overrides(version_type="vcs:git"), {}, {"version_type": "vcs:git"}),
    (Overrides(tags=("new",)), {}, {"tags": ["new"]}),
    (Overrides(parameters={"b": 3}), {}, {"parameters": {"a": 1, "b": 3}}),
    (Overrides(enforce_parameter_schema=False), {}, {"enforce_parameter_schema": False}),
    (Overrides(concurrency_limit=3), {}, {"concurrency_limit": 3}),
    (
        Overrides(concurrency_limit=3, collision_strategy="CANCEL_NEW"),
        {},
        {"concurrency_limit": {"limit": 3, "collision_strategy": "CANCEL_NEW"}},
    ),
    (
        Overrides(collision_strategy="CANCEL_NEW"),
        {"concurrency_limit": 2},
        {"concurrency_limit": {"limit": 2, "collision_strategy": "CANCEL_NEW"}},
    ),
    (
        Overrides(work_pool="q", work_queue="fast", job_variables={"image": "y"}),
        {},
        {
            "work_pool": {
                "name": "q",
                "work_queue_name": "fast",
                "job_variables": {"image": "y", "env": {"A": "1"}},
            }
        },
    ),
    (
        Overrides(schedules=({"cron": "@daily"},), timezone="UTC"),
        {"schedules": [{"cron": "@hourly"}]},
        {"schedules": [{"cron": "@hourly"}, {"cron": "@daily", "timezone": "UTC"}]},
    ),
    (
        Overrides(schedules=({"interval": 60}, {"cron": "@daily"}), anchor_date="2026-01-01"),
        {},
        {"schedules": [{"interval": 60, "anchor_date": "2026-01-01"}, {"cron": "@daily"}]},
    ),
    (
        Overrides(timezone="UTC"),
        {"schedules": [{"cron": "@hourly"}]},
        {"schedules": [{"cron": "@hourly", "timezone": "UTC"}]},
    ),
    (
        Overrides(schedules=({"cron": "@daily"},)),
        {"schedules": None},
        {"schedules": [{"cron": "@daily"}]},
    ),
    (Overrides(timezone="UTC"), {}, {}),
    (
        Overrides(triggers=({"expect": ["a"]},)),
        {"triggers": [1]},
        {"triggers": [{"expect": ["a"]}]},
    ),
    (Overrides(sla=({"name": "s"},)), {}, {"sla": [{"name": "s"}]}),
]


@pytest.mark.parametrize(("overrides", "entry", "changed"), CASES)
def test_flags_override_keys_of_an_entry(
    overrides: Overrides, entry: dict[str, Json], changed: dict[str, Json]
) -> None:
    raw = {**ENTRY, **entry}
    before = repr(raw)
    assert apply_overrides(raw, overrides) == {**raw, **changed}
    assert repr(raw) == before


def test_a_schedule_flag_is_added_to_a_single_schedule() -> None:
    found = apply_overrides(
        {"schedule": {"cron": "@hourly"}}, Overrides(schedules=({"cron": "@daily"},))
    )
    assert found == {"schedules": [{"cron": "@hourly"}, {"cron": "@daily"}]}


def test_a_strategy_needs_a_limit() -> None:
    with pytest.raises(UsageError, match="needs a concurrency limit"):
        apply_overrides(ENTRY, Overrides(collision_strategy="ENQUEUE"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a=1"], {"a": 1}),
        (["a=true", "b=x y", "c="], {"a": True, "b": "x y", "c": ""}),
        (['a="1"', "b=[1, 2]"], {"a": "1", "b": [1, 2]}),
        (["a=b=c"], {"a": "b=c"}),
        (['{"env": {"A": "x=y"}}'], {"env": {"A": "x=y"}}),
        (["a=NaN", "b=Infinity"], {"a": "NaN", "b": "Infinity"}),
        (["a=1", '{"a": 2}'], {"a": 2}),
        (["image=名:1"], {"image": "名:1"}),
    ],
)
def test_parses_assignments(values: list[str], expected: dict[str, Json]) -> None:
    assert parse_assignments("--param", values) == expected


@pytest.mark.parametrize("value", ["a", "=1", "{a}", '{"a": 1', " {"])
def test_rejects_invalid_assignments(value: str) -> None:
    with pytest.raises(UsageError, match="--param"):
        parse_assignments("--param", [value])


@pytest.mark.parametrize("text", ["[1]", "x", "1", ""])
def test_rejects_invalid_json_objects(text: str) -> None:
    with pytest.raises(UsageError, match="--params"):
        parse_json_object("--params", text)


def test_makes_schedules_of_flags() -> None:
    assert schedules(["@daily"], ["60"], ["FREQ=DAILY"]) == (
        {"cron": "@daily"},
        {"interval": "60"},
        {"rrule": "FREQ=DAILY"},
    )


def test_parses_definitions_from_json_and_files(tmp_path: Path) -> None:
    yaml, json = tmp_path / "t.yaml", tmp_path / "t.json"
    yaml.write_text("triggers:\n- expect: [a]\n")
    json.write_text('{"triggers": [{"expect": ["b"]}]}')
    found = parse_definitions("--trigger", ['{"expect": ["c"]}', str(yaml), str(json)], "triggers")
    assert [item["expect"] for item in found] == [["c"], ["a"], ["b"]]


@pytest.mark.parametrize("content", [None, "a: 1", "triggers: 1", "a: [", "- a"])
def test_rejects_a_file_without_definitions(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "t.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match="--trigger"):
        parse_definitions("--trigger", [str(path)], "triggers")
