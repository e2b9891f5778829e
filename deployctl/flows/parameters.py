"""Whether a deployment's parameters fit its flow, judged as the server and the flow's runs do.

The server checks types only, and only where the deployment enforces its schema; it does not insist
on required parameters, as a run may bring them, and lets unknown names pass, with which every run
then fails. Values that only the server or a step can know are taken to fit. Messages never hold a
value: it may be a secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from deployctl.core.diagnostics import Severity
from deployctl.core.json_schema import advice, deepest, expectation
from deployctl.core.json_values import Json, canonical_json, format_path
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.templating.problems import Problem
from deployctl.templating.values import Unknown

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


def check_parameters(
    parameters: Mapping[str, Json],
    schema: Mapping[str, Json],
    enforce: bool,
    *,
    scheduled: bool = False,
) -> list[Problem]:
    """What is wrong with parameters for a flow of this schema; paths start at the parameters.

    Wrong types (DC420) are errors where the schema is enforced, else warnings, as the flow may
    convert them; unknown names (DC421) are errors. With `scheduled`, required parameters without
    a value (DC422) are warnings: no one is there to give them.
    """
    return [
        *_unknown(parameters, schema),
        *_wrong(parameters, schema, Severity.ERROR if enforce else Severity.WARNING),
        *(_missing(parameters, schema) if scheduled else ()),
    ]


def _unknown(parameters: Mapping[str, Json], schema: Mapping[str, Json]) -> Iterator[Problem]:
    known = schema.get("properties", {})
    for name in parameters:
        if name not in known:
            message = f"the flow has no parameter '{name}', so every run would fail"
            has = f"it has {quoted(known)}" if known else "it has none"
            help_ = did_you_mean(name, known) or has
            yield Problem((name,), "DC421", message, help_)


def _missing(parameters: Mapping[str, Json], schema: Mapping[str, Json]) -> Iterator[Problem]:
    for name in schema.get("required", ()):
        if name not in parameters:
            message = f"the flow needs the parameter '{name}', which its scheduled runs do not have"
            help_ = "give it here, or a default in the code"
            yield Problem((), "DC422", message, help_, Severity.WARNING)


def _wrong(
    parameters: Mapping[str, Json], schema: Mapping[str, Json], severity: Severity
) -> Iterator[Problem]:
    if not any(name in schema.get("properties", {}) for name in parameters):
        return
    from jsonschema.exceptions import SchemaError
    from referencing.exceptions import Unresolvable

    try:
        validator = _validator(canonical_json(schema))
        for error in map(deepest, validator.iter_errors(dict(parameters))):
            if not _is_open(error.instance):
                path = tuple(error.absolute_path)
                wanted = expectation(error, "the flow's type")
                message = f"'{format_path(path)}' must be {wanted}"
                yield Problem(path, "DC420", message, advice(error), severity)
    except (SchemaError, Unresolvable):
        message = "the flow's types make no valid JSON Schema, so its parameters are not checked"
        yield Problem((), "DC420", message, None, Severity.WARNING)


@cache
def _validator(schema: str) -> Draft202012Validator:
    """The validator of a schema's canonical text, checked: flows have many deployments each.

    Raises SchemaError for what is no JSON Schema.
    """
    from jsonschema import Draft202012Validator
    from referencing import Registry

    # Without a registry of its own, jsonschema would fetch references from the network.
    registry: Registry[Any] = Registry()
    read = _as_the_server_reads(json.loads(schema))
    Draft202012Validator.check_schema(read)
    return Draft202012Validator(read, registry=registry)


def _as_the_server_reads(schema: Json) -> Json:
    """The schema with null for optional values that show no default, and without `required`.

    Tuples of pydantic 1, which lists their `items`, are written as JSON Schema has them now.
    """
    if isinstance(schema, list):
        return [_as_the_server_reads(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    read = {key: _as_the_server_reads(item) for key, item in schema.items() if key != "required"}
    properties = read.get("properties")
    if isinstance(properties, dict):
        required = schema.get("required") or ()
        for name, item in properties.items():
            if name not in required and isinstance(item, dict) and "default" not in item:
                properties[name] = _or_null(item)
    if isinstance(read.get("items"), list) and "prefixItems" not in read:
        read["prefixItems"] = read.pop("items")
    if "block_type_slug" in schema:
        return {"anyOf": [{"type": "object", "required": ["$ref"]}, read]}
    return read


def _or_null(schema: dict[str, Json]) -> dict[str, Json]:
    kind = schema.get("type")
    return {**schema, "type": [kind, "null"]} if isinstance(kind, str) else schema


def _is_open(value: Json) -> bool:
    """Whether a value, or a part of it, is one that only the server or a step will know."""
    if isinstance(value, dict):
        marked = "__prefect_kind" in value or "$ref" in value
        return marked or any(map(_is_open, value.values()))
    if isinstance(value, list):
        return any(map(_is_open, value))
    return isinstance(value, Unknown) or (isinstance(value, str) and "{{" in value)
