"""Validation of job variables against a work pool, with the rules of the Prefect server.

The server uses `variables` of the pool's base job template as a JSON Schema. It does not demand
required variables (a flow run may set them), accepts null for optional ones, and ignores names that
the schema does not have. `PoolVariables` compiles that schema once for all deployments of a pool.
Messages never contain a value: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from deployctl.core.diagnostics import Severity
from deployctl.core.json_schema import describe_expected, most_specific, quoting
from deployctl.core.json_values import Json, JsonPath, format_path
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.templating.problems import Problem
from deployctl.templating.values import Unknown

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError


def variables_schema(base_job_template: Mapping[str, Json] | None) -> Mapping[str, Json]:
    """The JSON Schema of the job variables in a base job template; empty if it has none."""
    return (base_job_template or {}).get("variables") or {}


class PoolVariables:
    """The job variables that a work pool accepts."""

    def __init__(self, base_job_template: Mapping[str, Json] | None) -> None:
        self.schema = variables_schema(base_job_template)

    @property
    def names(self) -> Mapping[str, Json]:
        """The schemas of the variables, by name."""
        return self.schema.get("properties") or {}

    def allows_string(self, path: JsonPath) -> bool:
        """Whether the server accepts any text, such as a reference, at this path.

        True for an invalid schema, which `check` reports.
        """
        try:
            return bool(path) and not list(self._errors(_nested(_split(path), "{{ reference }}")))
        except _invalid_schema():
            return True

    def check(self, job_variables: Mapping[str, Json]) -> list[Problem]:
        """Problems of a deployment's job variables, with paths relative to `job_variables`.

        Wrong types (DC530) and an invalid schema (DC533) are errors, because the server refuses
        them; unknown names (DC531) and missing required variables (DC532) are warnings.
        """
        if not self.schema:
            return []
        try:
            invalid = list(self._invalid_values(job_variables))
        except _invalid_schema():
            message = "the work pool's base job template is not a valid JSON Schema"
            return [
                Problem(
                    (), "DC533", message, "Correct 'variables' in the pool's base job template."
                )
            ]
        return [*invalid, *self._unknown(job_variables), *self._missing(job_variables)]

    def check_defaults(self) -> list[Problem]:
        """Problems of the schema (DC533) and of its defaults (DC535), with paths in the schema.

        A default that references a block is left to the server, which reads the block.
        """
        defaults = {
            name: schema["default"]
            for name, schema in self.names.items()
            if isinstance(schema, Mapping) and "default" in schema
        }
        plain = {
            name: value
            for name, value in defaults.items()
            if not (isinstance(value, Mapping) and "$ref" in value)
        }
        try:
            errors = [most_specific(error) for error in self._errors(plain)]
        except _invalid_schema() as error:
            return [Problem((), "DC533", _schema_message(error), "Correct the JSON Schema.")]
        return [_default_problem(error) for error in errors]

    @cached_property
    def _validator(self) -> Draft202012Validator:
        from jsonschema import Draft202012Validator
        from referencing import Registry

        Draft202012Validator.check_schema(self.schema)
        # With its default registry, jsonschema fetches remote references.
        registry: Registry[Any] = Registry()
        return Draft202012Validator(
            _server_schema(self.schema),
            registry=registry,
            format_checker=Draft202012Validator.FORMAT_CHECKER,
        )

    def _errors(self, job_variables: Json) -> Iterator[ValidationError]:
        if self.schema:
            yield from self._validator.iter_errors(job_variables)

    def _invalid_values(self, job_variables: Mapping[str, Json]) -> Iterator[Problem]:
        plain = {name: value for name, value in job_variables.items() if "." not in name}
        for error in map(most_specific, self._errors(self._known(plain, ()))):
            yield _problem(error, tuple(error.absolute_path))
        for name in (name for name in job_variables if "." in name):
            parts = _split((name,))
            nested = self._known(_nested(parts, job_variables[name]), ())
            for error in map(most_specific, self._errors(nested)):
                yield _problem(error, (name, *tuple(error.absolute_path)[len(parts) :]))

    def _known(self, value: Json, path: JsonPath) -> Json:
        """The value with unknown parts replaced by text if text is accepted, else removed."""
        if isinstance(value, dict):
            return {
                key: self._known(item, (*path, key))
                for key, item in value.items()
                if not isinstance(item, Unknown) or self.allows_string((*path, key))
            }
        if isinstance(value, list):
            return [
                self._known(item, (*path, index))
                for index, item in enumerate(value)
                if not isinstance(item, Unknown) or self.allows_string((*path, index))
            ]
        return str(value) if isinstance(value, Unknown) else value

    def _unknown(self, job_variables: Mapping[str, Json]) -> Iterator[Problem]:
        if not self.names or self.schema.get("additionalProperties"):
            return
        for name in job_variables:
            if (first := name.partition(".")[0]) not in self.names:
                yield Problem(
                    (name,),
                    "DC531",
                    f"the work pool has no job variable '{first}', so it will have no effect",
                    did_you_mean(first, self.names) or f"It has {quoted(self.names)}.",
                    Severity.WARNING,
                    at_key=True,
                )

    def _missing(self, job_variables: Mapping[str, Json]) -> Iterator[Problem]:
        names = {name.partition(".")[0] for name in job_variables}
        for name in self.schema.get("required") or ():
            if name not in names and "default" not in self.names.get(name, {}):
                yield Problem(
                    (),
                    "DC532",
                    f"the work pool needs the job variable '{name}'",
                    "Set it here, or for every flow run.",
                    Severity.WARNING,
                )


def _invalid_schema() -> tuple[type[Exception], ...]:
    from jsonschema.exceptions import SchemaError
    from referencing.exceptions import Unresolvable

    return SchemaError, Unresolvable


def _schema_message(error: Exception) -> str:
    """Why a schema is invalid, with the place in it."""
    path = format_path(tuple(getattr(error, "absolute_path", ())))
    reason = getattr(error, "message", None) or str(error)
    return f"'variables' is not a valid JSON Schema: {path and f'{path}: '}{reason}"


def _default_problem(error: ValidationError) -> Problem:
    name, *inner = error.absolute_path or ("",)
    expected = describe_expected(error, "the schema")
    kind = _TYPES.get(type(error.instance), "value")
    message = f"the default of the variable '{name}' must be {expected}, not this {kind}"
    path: JsonPath = ("properties", name, "default", *inner)
    help_, fix = quoting(error, path)
    return Problem(path, "DC535", message, help_, fix=fix)


def _split(path: JsonPath) -> JsonPath:
    """The path with its first key split at dots, as a worker does: `env.A` becomes `env`, `A`."""
    first, *rest = path
    return (*str(first).split("."), *rest)


def _nested(path: JsonPath, value: Json) -> Json:
    """The smallest value that contains `value` at `path`."""
    for part in reversed(path):
        value = [value] if isinstance(part, int) else {part: value}
    return value


def _server_schema(schema: Json) -> Json:
    """The schema as the server applies it: optional values may be null, blocks a reference."""
    if isinstance(schema, list):
        return [_server_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    read = {key: _server_schema(item) for key, item in schema.items() if key != "required"}
    required = schema.get("required") or ()
    if isinstance(properties := read.get("properties"), dict):
        read["properties"] = {
            name: _nullable(item) if name not in required else item
            for name, item in properties.items()
        }
    if "block_type_slug" in schema:
        reference = {"type": "object", "required": ["$ref"]}
        return {"anyOf": [reference, read]}
    return read


def _nullable(schema: Json) -> Json:
    if isinstance(schema, dict) and isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return schema


def _problem(error: ValidationError, path: JsonPath) -> Problem:
    name = format_path(path) or "job_variables"
    expected = describe_expected(error, "the pool's schema")
    kind = _TYPES.get(type(error.instance), "value")
    help_, fix = quoting(error, path)
    message = f"'{name}' must be {expected}, not this {kind}"
    return Problem(path, "DC530", message, help_, fix=fix)


_TYPES = {
    str: "text",
    bool: "boolean",
    int: "number",
    float: "number",
    dict: "mapping",
    list: "list",
    type(None): "null",
}
