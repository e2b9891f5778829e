"""Differences of two parameter schemas, parameter by parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from deployctl.core.json_values import Json

Difference: TypeAlias = tuple[str, Json, Json]
"""(label, old, new); ABSENT on a side that doesn't have it."""

ABSENT = object()
"""Stands for a value that one side doesn't have."""
_DEFINITIONS = ("definitions", "$defs")


def parameters(schema: Json) -> dict[str, Json]:
    """Parameter → its type and default: `integer = 30`."""
    return {name: describe(value) for name, value in _properties(schema).items()}


def describe(parameter: Json) -> str:
    """The type and default of one parameter: `integer = 30`."""
    import json

    if not isinstance(parameter, Mapping):
        return "any"
    text = type_name(parameter)
    if "default" in parameter:
        text += f" = {json.dumps(parameter['default'], ensure_ascii=False, default=str)}"
    return text


def type_name(schema: Json) -> str:
    """The type in a JSON Schema: `array of string`, `integer | null`, `Model`."""
    if not isinstance(schema, Mapping):
        return "any"
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for key, separator in (("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")):
        if isinstance(schema.get(key), list):
            return separator.join(map(type_name, schema[key]))
    if isinstance(schema.get("enum"), list):
        return "one of " + ", ".join(map(str, schema["enum"]))
    name = schema.get("type", "any")
    text = " | ".join(map(str, name)) if isinstance(name, list) else str(name)
    if text == "array" and schema.get("items"):
        text += f" of {type_name(schema['items'])}"
    return f"{text} ({schema['format']})" if schema.get("format") else text


def schema_differences(old: Json, new: Json) -> list[Difference]:
    """How two parameter schemas differ. Positions count only if nothing else differs."""
    before, after = _properties(old), _properties(new)
    found: list[Difference] = []
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            found.append((f"parameter {name}", describe(before[name]), ABSENT))
        elif name not in before:
            found.append((f"parameter {name}", ABSENT, describe(after[name])))
        else:
            found += _parameter(name, before[name], after[name])
    found += _required(old, new)
    found += _others(old, new)
    moved = [each for each in found if each[0].endswith(": position")]
    return [each for each in found if each not in moved] or moved


def _parameter(name: str, old: Json, new: Json) -> Iterator[Difference]:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        if old != new:
            yield f"parameter {name}", old, new
        return
    types = type_name(old), type_name(new)
    if types[0] != types[1]:
        yield f"parameter {name}: type", *types
    typing = {"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "items", "format"}
    for key in dict.fromkeys((*old, *new)):
        was, will = old.get(key, ABSENT), new.get(key, ABSENT)
        if was != will and not (key in typing and types[0] != types[1]):
            yield f"parameter {name}: {key}", was, will


def _required(old: Json, new: Json) -> Iterator[Difference]:
    """Parameters that become required or optional, where no default says so already."""
    before, after = _properties(old), _properties(new)
    for name in before.keys() & after.keys():
        was, will = (name in (_dict(each).get("required") or ()) for each in (old, new))
        defaults = ["default" in _dict(each[name]) for each in (before, after)]
        if was != will and defaults[0] == defaults[1]:
            yield f"parameter {name}: required", was, will


def _others(old: Json, new: Json) -> Iterator[Difference]:
    """Everything else, with a label for each definition."""
    before, after = _dict(old), _dict(new)
    for key in dict.fromkeys((*before, *after)):
        was, will = before.get(key, ABSENT), after.get(key, ABSENT)
        if key in ("properties", "required") or was == will:
            continue
        if key in _DEFINITIONS:
            for name in dict.fromkeys((*_dict(was), *_dict(will))):
                parts = _dict(was).get(name, ABSENT), _dict(will).get(name, ABSENT)
                if parts[0] != parts[1]:
                    yield f"type {name}", *parts
        elif not (key == "title" and ABSENT in (was, will)):
            yield f"parameters' schema: {key}", was, will


def _properties(schema: Json) -> Mapping[str, Json]:
    return _dict(_dict(schema).get("properties"))


def _dict(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}
