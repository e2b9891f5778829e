"""The JSON Schema for editors."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json
from deployctl.project.document import read_document
from deployctl.project.parse import parse_project, report_entries
from deployctl.project.schema import json_schema
from tests.unit.project.reading import document

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").rglob("prefect.yaml"))
SCHEMA = json_schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_accepts_the_examples(path: Path) -> None:
    report = Report()
    found = read_document(path, report)
    assert found is not None
    CHECK.validate(found.data)
    report_entries(parse_project(found, report, {}).deployments, report)
    assert not report.items


def entry(text: str) -> Json:
    return document(f"deployments:\n- name: d\n  entrypoint: a.py:f\n  {text}\n").data


RIGHT = [
    "version: 1.0",
    "tags: a",
    "tags: ['{{ build.tag }}']",
    "paused: '{{ prefect.variables.paused }}'",
    "concurrency_limit: '{{ $LIMIT }}'",
    "concurrency_limit: {limit: 1}",
    "work_pool: p",
    "work_pool: '{{ $POOL }}'",
    "schedules: [{cron: '@daily'}]",
    "schedules: [{interval: PT1H, anchor_date: '2026-01-01'}]",
    "schedule: {cron: '@daily', active: '{{ prefect.variables.on }}'}",
    "schedules: []",
    "build: null",
    "build: {}",
    "pull: []",
    "push: {f: {x: 1}}",
    "build: [{f: null}]",
    "triggers: [{expect: [a]}]",
    "triggers: [{type: compound, require: 1, triggers: [{type: event, expect: [a]}]}]",
    "triggers: [{posture: Metric, metric: {name: duration, threshold: 1, operator: '>'}}]",
    "sla: [{name: s, duration: 5}]",
    "description: null",
]
WRONG = [
    "entry_point: x",
    "tags: {a: b}",
    "paused: maybe",
    "concurrency_limit: 0",
    "concurrency_limit: {collision_strategy: ENQUEUE}",
    "concurrency_limit: {limit: 1, collision_strategy: WAIT}",
    "work_pool: {nam: p}",
    "work_pool: []",
    "schedules: {cron: '@daily'}",
    "schedules: [{cron: '@daily', time_zone: UTC}]",
    "schedules: [{interval: 0}]",
    "parameters: []",
    "parameters: null",
    "build: [{f: {}, g: {}}]",
    "triggers: [{expct: [a]}]",
    "triggers: [{type: metrc}]",
    "sla: [{duration: 5}]",
]


@pytest.mark.parametrize("text", RIGHT)
def test_accepts_valid_files(text: str) -> None:
    CHECK.validate(entry(text))


@pytest.mark.parametrize("text", WRONG)
def test_rejects_invalid_files(text: str) -> None:
    assert not CHECK.is_valid(entry(text))


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("definitions: {a: 1}\nx-b: 2\nname: p", True),
        ("work_pools: [{name: p, type: process, queues: [{name: q}]}]", True),
        ("work_pools: [{name: p}]", False),
        ("work_pools: [{name: a/b, type: process}]", False),
        ("deploymentss: []", False),
        ("deployments: [{name: d}]", False),
    ],
)
def test_checks_the_top_level(text: str, valid: bool) -> None:
    assert CHECK.is_valid(document(text).data) is valid


def test_every_key_has_a_description() -> None:
    for name, definition in {"": SCHEMA, **SCHEMA["$defs"]}.items():
        for key, value in definition["properties"].items():
            assert value["description"], (name, key)
