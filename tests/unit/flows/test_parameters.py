"""Validation of parameters as the server and the flow do it."""

from __future__ import annotations

from typing import Any

import pytest

from deployctl.core.diagnostics import Severity
from deployctl.flows import parameters as module
from deployctl.flows.parameters import check_parameters
from deployctl.templating.values import Unknown

SCHEMA: dict[str, Any] = {
    "title": "Parameters",
    "type": "object",
    "properties": {
        "days": {"type": "integer", "default": 1},
        "name": {"type": "string"},
        "tags": {"anyOf": [{"items": {"type": "string"}, "type": "array"}, {"type": "null"}]},
        "color": {"$ref": "#/definitions/Color", "default": "red"},
        "on": {"type": "string", "format": "date", "default": "2024-01-01"},
        "odd": {"type": "integer"},
        "model": {"$ref": "#/definitions/Model", "default": {}},
        "any": {},
        "pair": {"type": "array", "items": [{"type": "integer"}, {"type": "string"}]},
        "block": {"$ref": "#/definitions/Block", "default": None},
    },
    "required": ["name"],
    "definitions": {
        "Block": {"block_type_slug": "secret", "type": "object", "required": ["x"]},
        "Color": {"enum": ["red", "blue"], "title": "Color", "type": "string"},
        "Model": {
            "type": "object",
            "title": "Model",
            "properties": {"x": {"type": "integer"}},
            "required": ["x"],
        },
    },
}


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"days": 2, "name": "n", "tags": None, "color": "blue"},
        {"tags": ["a"]},
        {"on": "not a date: the server does not look"},
        {"odd": None},
        {"model": {}},
        {"any": {"x": [1]}},
        {"pair": [1, "a"]},
        {"block": {"x": 1}},
        {"days": "{{ build.days }}", "tags": "{{ $TAGS }}"},
        {"days": Unknown("build", "days"), "tags": ["a", Unknown("build", "tag")]},
        {"days": {"__prefect_kind": "jinja", "template": "1"}},
        {"model": {"$ref": {"block_document_id": "x"}}},
        {"tags": ["{{ a }}", "b"]},
    ],
)
def test_accepts_valid_parameters(parameters: dict[str, Any]) -> None:
    assert check_parameters(parameters, SCHEMA, True) == []


@pytest.mark.parametrize(
    ("parameters", "path", "message"),
    [
        ({"days": "7"}, ("days",), "'days' must be a whole number"),
        ({"days": None}, ("days",), "'days' must be a whole number"),
        ({"days": 1.5}, ("days",), "'days' must be a whole number"),
        ({"tags": "daily"}, ("tags",), "'tags' must be a list or null"),
        ({"tags": ["a", 2]}, ("tags", 1), "'tags[1]' must be text"),
        ({"color": "green"}, ("color",), "'color' must be one of 'red', 'blue'"),
        ({"pair": ["a", "b"]}, ("pair", 0), "'pair[0]' must be a whole number"),
        ({"model": {"x": "1"}}, ("model", "x"), "'model.x' must be a whole number"),
    ],
)
def test_reports_wrong_types(
    parameters: dict[str, Any], path: tuple[str | int, ...], message: str
) -> None:
    [problem] = check_parameters(parameters, SCHEMA, True)
    assert (problem.code, problem.path, problem.message) == ("DC420", path, message)
    assert problem.severity is Severity.ERROR
    [problem] = check_parameters(parameters, SCHEMA, False)
    assert problem.severity is Severity.WARNING


def test_suggests_quotes_for_number_in_place_of_text() -> None:
    [problem] = check_parameters({"name": 1}, SCHEMA, True)
    assert problem.help == "Quote it."


def test_never_shows_value() -> None:
    [problem] = check_parameters({"color": "hunter2"}, SCHEMA, True)
    assert "hunter2" not in repr(problem)


@pytest.mark.parametrize(
    ("name", "help_"),
    [("day", "Did you mean 'days'?"), ("zzz", "It has 'days', 'name'")],
)
def test_unknown_name_is_an_error(name: str, help_: str) -> None:
    [problem] = check_parameters({name: 1}, SCHEMA, False)
    assert (problem.code, problem.path, problem.severity) == ("DC421", (name,), Severity.ERROR)
    assert problem.help is not None
    assert problem.help.startswith(help_)


def test_missing_value_matters_to_schedules_only() -> None:
    assert check_parameters({}, SCHEMA, True) == []
    [problem] = check_parameters({}, SCHEMA, True, scheduled=True)
    assert (problem.code, problem.severity) == ("DC422", Severity.WARNING)
    assert check_parameters({"name": "n"}, SCHEMA, True, scheduled=True) == []


@pytest.mark.parametrize("wrong", [{"type": "text"}, {"$ref": "#/definitions/Gone"}])
def test_invalid_schema_is_a_warning(wrong: dict[str, Any]) -> None:
    [problem] = check_parameters({"a": 1}, {"properties": {"a": wrong}}, True)
    assert (problem.code, problem.path, problem.severity) == ("DC420", (), Severity.WARNING)


def test_plain_values_are_checked_without_jsonschema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_validator", lambda _schema: pytest.fail("jsonschema is used"))
    schema = {"properties": {"days": {"title": "days", "type": "integer", "position": 0}}}
    assert check_parameters({"days": 2}, schema, enforce=True) == []
    assert [each.code for each in check_parameters({"day": 2}, schema, enforce=True)] == ["DC421"]
