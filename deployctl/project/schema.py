"""Generates the JSON Schema of prefect.yaml for editors from the table of keys.

Unknown keys and wrong types are errors; a template is valid wherever a value is. Most of what is
only a warning in deployctl, such as `version: 1.0`, is valid.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from deployctl.core.json_values import Json
from deployctl.project import keys
from deployctl.project.shapes import (
    Anything,
    Choice,
    Duration,
    Either,
    Flag,
    Key,
    ListOf,
    MapOf,
    Mapping_,
    Number,
    Shape,
    Steps,
    Table,
    Text,
)

_TEMPLATE: Json = {"type": "string", "pattern": "\\{\\{"}
_STEP: Json = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": {"type": ["object", "null"]},
}


def json_schema() -> dict[str, Json]:
    """The schema, in draft 2020-12."""
    definitions: dict[str, Json] = {}
    schema = _table(keys.TOP_LEVEL, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "prefect.yaml",
        "description": "Deployments of a Prefect project.",
        **schema,
        "$defs": definitions,
    }


def _shape(shape: Shape, definitions: dict[str, Json]) -> dict[str, Json]:
    """The schema of a shape; tables are added to `definitions`, each once."""
    match shape:
        case Anything():
            return {}
        case Text():
            return _text(shape)
        case Flag():
            return _or_template({"type": "boolean"})
        case Number():
            return _or_template(_number(shape))
        case Duration():
            limit = "exclusiveMinimum" if shape.positive else "minimum"
            return {"anyOf": [{"type": "number", limit: shape.minimum}, {"type": "string"}]}
        case Mapping_():
            return _or_template({"type": "object"})
        case Steps():
            return {"anyOf": [{"type": "array", "items": _STEP}, _STEP, _empty()]}
        case ListOf():
            listed = {"type": "array", "items": _shape(shape.item, definitions)}
            if shape.named:
                return _or_template(listed, {"type": "object"})
            return {"anyOf": [listed, {"type": "string"}]} if shape.single else _or_template(listed)
        case MapOf():
            item = _partial(shape.item) if shape.partial else shape.item
            items = {"anyOf": [_reference(item, definitions), {"type": "null"}]}
            return {"type": "object", "additionalProperties": items}
        case Either():
            parts = [part for part in (shape.plain, shape.mapping, shape.many) if part is not None]
            return {"anyOf": [_shape(part, definitions) for part in parts]}
        case Choice():
            tables = shape.tables().values()
            return _or_template(*(_reference(table, definitions) for table in tables))
        case Table():
            return _or_template(_reference(shape, definitions), *_named_by_text(shape))
    assert_never(shape)


def _empty() -> dict[str, Json]:
    return {"type": "object", "maxProperties": 0}


def _reference(table: Table, definitions: dict[str, Json]) -> dict[str, Json]:
    """A reference to the definition of a table, which is generated at its first use."""
    if table.name not in definitions:
        definitions[table.name] = None  # a compound trigger may hold compound triggers
        definitions[table.name] = _table(table, definitions)
    return {"$ref": f"#/$defs/{table.name.replace(' ', '%20')}"}


def _partial(table: Table) -> Table:
    """The table without required keys, under a name of its own."""
    optional = {name: replace(key, required=False) for name, key in table.keys.items()}
    return replace(table, name=f"{table.name} override", keys=optional)


def _table(table: Table, definitions: dict[str, Json]) -> dict[str, Json]:
    required = [name for name, key in table.keys.items() if key.required]
    schema: dict[str, Json] = {
        "type": "object",
        "properties": {name: _key(key, definitions) for name, key in table.keys.items()},
        "additionalProperties": False,
    }
    if table.free:
        schema["properties"]["definitions"] = {"description": "Anything: a place for anchors."}
        schema["patternProperties"] = {"^x-": {}}
    if required:
        schema["required"] = required
    return schema


def _key(key: Key, definitions: dict[str, Json]) -> dict[str, Json]:
    schema = _shape(key.shape, definitions)
    if not key.null_refused and not key.required and schema:
        schema = {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}
    doc = f"{key.doc}{since(key)}"
    return {"description": doc, **schema} if doc else schema


def since(key: Key) -> str:
    """` Needs Prefect 3.2.` for a key that not every Prefect 3 reads."""
    since = key.since or (key.field.create.since if key.field else (0, 0, 0))
    if since <= (3, 0, 0):
        return ""
    return f" Needs Prefect {'.'.join(map(str, since)).removesuffix('.0')}."


def _named_by_text(table: Table) -> list[dict[str, Json]]:
    return [{"type": "string"}] if table.text_is else []


def _or_template(*schemas: dict[str, Json]) -> dict[str, Json]:
    return {"anyOf": [*schemas, _TEMPLATE]}


def _text(shape: Text) -> dict[str, Json]:
    if shape.choices:
        return _or_template({"type": "string", "enum": list(shape.choices)})
    if shape.forbidden:
        return _or_template({"type": "string", "pattern": f"^[^{shape.forbidden}]*$"})
    return {"type": ["string", "number"]}


def _number(shape: Number) -> dict[str, Json]:
    schema: dict[str, Json] = {"type": "integer" if shape.whole else "number"}
    if shape.minimum > float("-inf"):
        schema["minimum"] = shape.minimum
    if shape.maximum < float("inf"):
        schema["maximum"] = shape.maximum
    return schema
