"""The resources of the Prefect API with their fields, collected from the table of keys.

A key that is added to `keys` is a field of its resource from then on: `normalize` passes it on, the
dialect decides whether the server has it, plans compare it and writes send it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache

from deployctl.api.dialect import NEVER, Dialect, Operation
from deployctl.core.json_values import Json, JsonPath
from deployctl.project import keys, resource_keys
from deployctl.project.shapes import Either, Field, Key, Steps, Table
from deployctl.project.trigger_keys import AUTOMATION

RESOURCES: Mapping[str, Table] = {
    "flow": resource_keys.FLOW,
    "variable": resource_keys.VARIABLE,
    "global_concurrency_limit": resource_keys.GLOBAL_LIMIT,
    "tag_concurrency_limit": resource_keys.TAG_LIMIT,
    "block": resource_keys.BLOCK,
    "work_pool": resource_keys.POOL,
    "work_queue": resource_keys.QUEUE,
    "deployment": keys.DEPLOYMENT,
    "schedule": keys.SCHEDULE,
    "automation": AUTOMATION,
}
"""Kind of resource → its table. What a table holds of other resources isn't part of it."""


@cache
def fields_of(kind: str) -> Mapping[str, Field]:
    """All fields of a kind of resource, by the API's names."""
    set_by_keys = (key.field for _, key in _keys(RESOURCES[kind]) if key.field)
    found: dict[str, Field] = {}
    for field in (*set_by_keys, *RESOURCES[kind].fields):
        found.setdefault(field.name, field)
    return found


@lru_cache(maxsize=64)
def managed_fields(kind: str, dialect: Dialect) -> Mapping[str, Field]:
    """The fields that plans compare, as far as the server has them."""
    return {
        name: field
        for name, field in fields_of(kind).items()
        if field.managed and dialect.accepts(kind, field)
    }


def declared_fields(kind: str, values: Mapping[str, Json]) -> dict[str, Json]:
    """The managed fields of a resource among `values`, which have the API's names."""
    return {
        name: values[name]
        for name, field in fields_of(kind).items()
        if field.managed and name in values
    }


def accepts(dialect: Dialect, kind: str, name: str, op: Operation = "create") -> bool:
    """Whether the server accepts a field in an operation; of unknown ones, only its schema says."""
    return dialect.accepts(kind, fields_of(kind).get(name) or Field(name, NEVER), op)


def accepted(
    dialect: Dialect, kind: str, values: Mapping[str, Json], op: Operation = "create"
) -> dict[str, Json]:
    """The part of a body that the server accepts in an operation, by the server's names."""
    return {
        dialect.name_of(fields_of(kind).get(name) or Field(name)): value
        for name, value in values.items()
        if accepts(dialect, kind, name, op)
    }


def api_values(table: Table, entry: Mapping[str, Json]) -> dict[str, Json]:
    """The values of an entry of the file by the API's names.

    Keys without a field keep their names, and so do steps, which are parsed later.
    """
    return {
        key.field.name if key.field and not isinstance(key.shape, Steps) else name: entry[name]
        for name, key in table.keys.items()
        if name in entry
    }


def key_path(kind: str, field: str) -> JsonPath:
    """Where an entry of the file sets a field: `("work_pool", "job_variables")`."""
    for path, key in _keys(RESOURCES[kind]):
        if key.field and key.field.name == field:
            return path
    return (field,)


def _keys(table: Table, path: JsonPath = ()) -> Iterator[tuple[JsonPath, Key]]:
    """The keys of a table and of the tables in it that are no resource of their own."""
    for name, key in table.keys.items():
        yield (*path, name), key
        inner = key.shape.mapping if isinstance(key.shape, Either) else key.shape
        if isinstance(inner, Table) and not any(inner is each for each in RESOURCES.values()):
            yield from _keys(inner, (*path, name))
