"""Base job templates that the server accepts, and that it refuses."""

from __future__ import annotations

from typing import Any


def template(properties: Any, *, required: Any = (), **configuration: Any) -> dict[str, Any]:
    """A base job template; by default it uses all its variables."""
    used = {name: f"{{{{ {name} }}}}" for name in properties}
    return {
        "variables": {"type": "object", "properties": properties, "required": list(required)},
        "job_configuration": configuration or used,
    }


REFERENCE = {"$ref": {"block_document_id": "00000000-0000-0000-0000-000000000000"}}
VALID: dict[str, Any] = {
    "empty": {},
    "text": template({"a": {"type": "string", "default": "x"}}),
    "null for an optional variable": template({"a": {"type": "string", "default": None}}),
    "integer as number": template({"a": {"type": "number", "default": 1}}),
    "whole float as integer": template({"a": {"type": "integer", "default": 1.0}}),
    "any of": template({"a": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}}),
    "no type": template({"a": {"default": [1]}}),
    "mapping": template(
        {"a": {"type": "object", "additionalProperties": {"type": "string"}, "default": {"b": "c"}}}
    ),
    "required without default": template({"a": {"type": "string"}}, required=["a"]),
    "definition": {
        "variables": {
            "properties": {"a": {"$ref": "#/definitions/A", "default": "x"}},
            "definitions": {"A": {"type": "string"}},
        },
        "job_configuration": {"a": "{{ a }}"},
    },
    "nested and embedded": template(
        {"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}},
        spec={"x": ["{{a}}-{{ b }}", {"{{ c }}": 1}]},
    ),
}
"""Name → template."""
_PROPERTY = ("variables", "properties", "a", "default")
INVALID: dict[str, tuple[Any, str, tuple[str | int, ...]]] = {
    "no variables": ({"job_configuration": {"a": "b"}}, "DC533", ()),
    "empty variables": ({"job_configuration": {"a": "b"}, "variables": {}}, "DC533", ()),
    "no job configuration": ({"variables": {"properties": {}}}, "DC533", ()),
    "undeclared": (
        template({"a": {"type": "string"}}, x="{{ a }}", y=["{{ b }}"]),
        "DC534",
        ("job_configuration", "y"),
    ),
    "undeclared in a key": (
        template({"a": {"type": "string"}}, x="{{ a }}", y={"{{ b }}": 1}),
        "DC534",
        ("job_configuration", "y"),
    ),
    "undeclared reference": (
        template({"a": {"type": "string"}}, x="{{ a }}", y="{{ prefect.variables.b }}"),
        "DC534",
        ("job_configuration", "y"),
    ),
    "part of a variable": (
        template({"a": {"type": "object"}}, x="{{ a }}", y="{{ a.b }}"),
        "DC534",
        ("job_configuration", "y"),
    ),
    "number for text": (template({"a": {"type": "string", "default": 5}}), "DC535", _PROPERTY),
    "text for integer": (template({"a": {"type": "integer", "default": "5"}}), "DC535", _PROPERTY),
    "fraction for integer": (
        template({"a": {"type": "integer", "default": 1.5}}),
        "DC535",
        _PROPERTY,
    ),
    "boolean for integer": (
        template({"a": {"type": "integer", "default": True}}),
        "DC535",
        _PROPERTY,
    ),
    "null for a required variable": (
        template({"a": {"type": "string", "default": None}}, required=["a"]),
        "DC535",
        _PROPERTY,
    ),
    "no member of an enumeration": (
        template({"a": {"type": "string", "enum": ["x"], "default": "y"}}),
        "DC535",
        _PROPERTY,
    ),
    "nested": (
        template(
            {
                "a": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "default": {"b": 1},
                }
            }
        ),
        "DC535",
        (*_PROPERTY, "b"),
    ),
    "unknown type": (template({"a": {"type": "str"}}), "DC533", ("variables",)),
    "reference to nothing": (
        template({"a": {"$ref": "#/definitions/A", "default": "x"}}),
        "DC533",
        ("variables",),
    ),
}
"""Name → template, code, path of the problem."""
