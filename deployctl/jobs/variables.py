"""Whether job variables fit a work pool, judged as its server judges them when it is written to.

The server takes the `variables` of the pool's base job template as a JSON Schema, does not insist
on required ones (a flow run may bring them), lets null stand for any optional one, and says nothing
about names that the schema does not know. `PoolVariables` compiles that schema once for all the
deployments of a pool. Messages never hold a value: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any

from deployctl.core.diagnostics import Severity
from deployctl.core.json_schema import advice, deepest, expectation
from deployctl.core.json_values import Json, JsonPath, format_path
from deployctl.templating.problems import Problem
from deployctl.templating.values import Unknown

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError


def variables_schema(base_job_template: Mapping[str, Json] | None) -> Mapping[str, Json]:
    """The JSON Schema of the job variables in a base job template; {} where it has none."""
    return (base_job_template or {}).get("variables") or {}


class PoolVariables:
    """The job variables that a work pool takes."""

    def __init__(self, base_job_template: Mapping[str, Json] | None) -> None:
        self.schema = variables_schema(base_job_template)

    @property
    def names(self) -> Mapping[str, Json]:
        """The variables that the schema describes, by name."""
        return self.schema.get("properties") or {}

    def allows_string(self, path: JsonPath) -> bool:
        """Whether the server takes any text, such as a reference, at this path.

        A schema that is none refuses nothing here; `check` tells of it.
        """
        try:
            return bool(path) and not list(self._errors(_nested(_split(path), "{{ reference }}")))
        except _invalid_schema():
            return True

    def check(self, job_variables: Mapping[str, Json]) -> list[Problem]:
        """What is wrong with a deployment's job variables; paths start at `job_variables`.

        Wrong types (DC530) and a schema that is none (DC533) are errors, because the server refuses
        them; unknown names (DC531) and missing required ones (DC532) are warnings.
        """
        if not self.schema:
            return []
        try:
            wrong = list(self._wrong(job_variables))
        except _invalid_schema():
            message = "the work pool's base job template is not a valid JSON Schema"
            return [Problem((), "DC533", message, "correct 'variables' in the pool's template")]
        return [*wrong, *self._unknown(job_variables), *self._missing(job_variables)]

    @cached_property
    def _validator(self) -> Draft202012Validator:
        from jsonschema import Draft202012Validator
        from referencing import Registry

        Draft202012Validator.check_schema(self.schema)
        # Without a registry of its own, jsonschema would fetch references from the network.
        registry: Registry[Any] = Registry()
        return Draft202012Validator(
            _as_the_server_reads(self.schema),
            registry=registry,
            format_checker=Draft202012Validator.FORMAT_CHECKER,
        )

    def _errors(self, job_variables: Json) -> Iterator[ValidationError]:
        if self.schema:
            yield from self._validator.iter_errors(job_variables)

    def _wrong(self, job_variables: Mapping[str, Json]) -> Iterator[Problem]:
        plain = {name: value for name, value in job_variables.items() if "." not in name}
        for error in map(deepest, self._errors(self._known(plain, ()))):
            yield _problem(error, tuple(error.absolute_path))
        for name in (name for name in job_variables if "." in name):
            parts = _split((name,))
            nested = self._known(_nested(parts, job_variables[name]), ())
            for error in map(deepest, self._errors(nested)):
                yield _problem(error, (name, *tuple(error.absolute_path)[len(parts) :]))

    def _known(self, value: Json, path: JsonPath) -> Json:
        """The value without its unknown parts: as text where text will do, else left out."""
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
                close = get_close_matches(first, self.names, 1)
                yield Problem(
                    (name,),
                    "DC531",
                    f"the work pool has no job variable '{first}', so it will have no effect",
                    f"did you mean '{close[0]}'?"
                    if close
                    else "it has " + ", ".join(f"'{known}'" for known in self.names),
                    Severity.WARNING,
                )

    def _missing(self, job_variables: Mapping[str, Json]) -> Iterator[Problem]:
        given = {name.partition(".")[0] for name in job_variables}
        for name in self.schema.get("required") or ():
            if name not in given and "default" not in self.names.get(name, {}):
                yield Problem(
                    (),
                    "DC532",
                    f"the work pool needs the job variable '{name}'",
                    "give it here, or with every flow run",
                    Severity.WARNING,
                )


def _invalid_schema() -> tuple[type[Exception], ...]:
    from jsonschema.exceptions import SchemaError
    from referencing.exceptions import Unresolvable

    return SchemaError, Unresolvable


def _split(path: JsonPath) -> JsonPath:
    """A path with the dots of its first key taken apart: `env.A` is `env`, `A`, as for a worker."""
    first, *rest = path
    return (*str(first).split("."), *rest)


def _nested(path: JsonPath, value: Json) -> Json:
    """The smallest value that holds `value` at `path`."""
    for part in reversed(path):
        value = [value] if isinstance(part, int) else {part: value}
    return value


def _as_the_server_reads(schema: Json) -> Json:
    """The schema with null for whatever is optional, and a reference for whatever is a block."""
    if isinstance(schema, list):
        return [_as_the_server_reads(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    read = {key: _as_the_server_reads(item) for key, item in schema.items() if key != "required"}
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
    expected = expectation(error, "the pool's schema")
    kind = _TYPES.get(type(error.instance), "value")
    return Problem(path, "DC530", f"'{name}' must be {expected}, not this {kind}", advice(error))


_TYPES = {
    str: "text",
    bool: "boolean",
    int: "number",
    float: "number",
    dict: "mapping",
    list: "list",
    type(None): "null",
}
