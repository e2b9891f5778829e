"""Checks a deployment's parameters against the schema of its flow, as server and runs would.

The server validates types only, and only if the deployment enforces its schema. It doesn't insist
on required parameters, because a run may pass them, and accepts unknown names, with which every run
then fails. Values that only the server or a step can know are assumed to be valid. Messages never
contain a value: it may be a secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from deployctl.core.diagnostics import Severity
from deployctl.core.json_schema import (
    describe_expected,
    is_plainly_valid,
    most_specific,
    quoting,
)
from deployctl.core.json_values import Json, canonical_json, format_path
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.templating.problems import Problem
from deployctl.templating.values import Unknown

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


_ORDINARY = frozenset({"title", "type", "properties", "required", "definitions", "$defs"})
"""Keywords of the schema of every flow, which say nothing about a value of a parameter."""


def check_parameters(
    parameters: Mapping[str, Json],
    schema: Mapping[str, Json],
    enforce: bool,
    *,
    scheduled: bool = False,
) -> list[Problem]:
    """Returns the problems of parameters for a flow of this schema, with paths below `parameters`.

    A wrong type (DC420) is an error if the schema is enforced, else a warning, because the flow may
    convert the value. An unknown name (DC421) is an error. With `scheduled`, a required parameter
    without a value (DC422) is a warning: scheduled runs get no other parameters.
    """
    return [
        *_unknown_names(parameters, schema),
        *_wrong_types(parameters, schema, Severity.ERROR if enforce else Severity.WARNING),
        *(_missing_values(parameters, schema) if scheduled else ()),
    ]


def _unknown_names(parameters: Mapping[str, Json], schema: Mapping[str, Json]) -> Iterator[Problem]:
    known = schema.get("properties", {})
    for name in parameters:
        if name not in known and not schema.get("additionalProperties"):
            message = f"the flow has no parameter '{name}', so every run would fail"
            names = f"It has {quoted(known)}." if known else "It has none."
            help_ = did_you_mean(name, known) or names
            yield Problem((name,), "DC421", message, help_, at_key=True)


def _missing_values(
    parameters: Mapping[str, Json], schema: Mapping[str, Json]
) -> Iterator[Problem]:
    for name in schema.get("required", ()):
        if name not in parameters:
            message = (
                f"the flow requires the parameter '{name}', which its scheduled runs do not get"
            )
            help_ = "Set it here, or give it a default in the code."
            yield Problem((), "DC422", message, help_, Severity.WARNING)


def _wrong_types(
    parameters: Mapping[str, Json], schema: Mapping[str, Json], severity: Severity
) -> Iterator[Problem]:
    known = schema.get("properties", {})
    declared = [name for name in parameters if name in known]
    if _ORDINARY.issuperset(schema) and all(
        is_plainly_valid(parameters[name], known[name]) for name in declared
    ):
        return
    from jsonschema.exceptions import SchemaError
    from referencing.exceptions import Unresolvable

    try:
        validator = _validator(canonical_json(schema))
        for error in map(most_specific, validator.iter_errors(dict(parameters))):
            if not _is_unknown(error.instance):
                path = tuple(error.absolute_path)
                expected = describe_expected(error, "the flow's type")
                message = f"'{format_path(path)}' must be {expected}"
                help_, fix = quoting(error, path)
                yield Problem(path, "DC420", message, help_, severity, fix)
    except (SchemaError, Unresolvable):
        message = "the flow's parameter schema is not valid, so its parameters are not checked"
        yield Problem((), "DC420", message, None, Severity.WARNING)


@cache
def _validator(schema: str) -> Draft202012Validator:
    """Returns the validator of a schema in canonical JSON; cached for the flow's deployments.

    Raises SchemaError if it is not a JSON Schema.
    """
    from jsonschema import Draft202012Validator
    from referencing import Registry

    # Without a registry, jsonschema would fetch references from the network.
    registry: Registry[Any] = Registry()
    read = _as_server_reads(json.loads(schema))
    Draft202012Validator.check_schema(read)
    return Draft202012Validator(read, registry=registry)


def _as_server_reads(schema: Json) -> Json:
    """Returns the schema as the server applies it.

    Optional parameters without a default accept null, and `required` is dropped. Tuples of
    pydantic 1, a list of `items`, become `prefixItems` of current JSON Schema.
    """
    if isinstance(schema, list):
        return [_as_server_reads(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    read = {key: _as_server_reads(item) for key, item in schema.items() if key != "required"}
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


def _is_unknown(value: Json) -> bool:
    """Whether a value, or a part of it, is only known to the server or to a step."""
    if isinstance(value, dict):
        is_placeholder = "__prefect_kind" in value or "$ref" in value
        return is_placeholder or any(map(_is_unknown, value.values()))
    if isinstance(value, list):
        return any(map(_is_unknown, value))
    return isinstance(value, Unknown) or (isinstance(value, str) and "{{" in value)
