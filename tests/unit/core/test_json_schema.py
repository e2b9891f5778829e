"""What is decided about values without jsonschema."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from deployctl.core.json_schema import is_plainly_valid

VALUES: list[Any] = ["a", "", "{{ x }}", 1, 0, 1.5, 2.0, True, False, None, [], {}, ["a"]]


@pytest.mark.parametrize("kind", ["string", "integer", "number", "boolean", "array", "null"])
def test_plainly_valid_values_are_valid(kind: str) -> None:
    schema = {"title": "x", "type": kind, "position": 0, "default": None}
    plain = [value for value in VALUES if is_plainly_valid(value, schema)]
    assert all(Draft202012Validator(schema).is_valid(value) for value in plain)
    assert bool(plain) is (kind not in ("array", "null"))


@pytest.mark.parametrize(
    "schema",
    [{}, True, {"type": ["string", "null"]}, {"type": "string", "minLength": 1}, {"$ref": "#/x"}],
)
def test_other_schemas_are_left_to_jsonschema(schema: Any) -> None:
    assert not is_plainly_valid("a", schema)
