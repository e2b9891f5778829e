"""Creates the variables and blocks of seed files on a server, and updates those that differ."""

from __future__ import annotations

from collections import Counter

from deployctl.api import paths
from deployctl.api.blocks import block_with_secrets, read_block_schema, read_block_types
from deployctl.api.calls import ApiCall, Request, call, gather
from deployctl.api.dialect import detect
from deployctl.api.work_pools import create_named
from deployctl.app.operating.lookup import ObjectNotFound
from deployctl.core import redact
from deployctl.core.diagnostics import Report
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json, same_json
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.project.blocks import check_block_values
from deployctl.project.seeds import BlockSeed, Seeds, VariableSeed, block_reference
from deployctl.templating.references import secret_values

_OUTCOMES = ("created", "updated", "unchanged")


def apply_seeds(seeds: Seeds, report: Report) -> ApiCall[str]:
    """Writes what differs, and returns how many objects were created, updated and unchanged.

    They are written one by one, so that a block may refer to those before it. Fields of a block
    that its type lacks, or needs, are reported, and nothing is written if that is an error. Raises
    ObjectNotFound for an unknown type of block, ApiError if the server rejects a value.
    """
    types = {each.type: each for each in reversed(seeds.blocks)}
    schemas = yield from gather({slug: _read_schema(each) for slug, each in types.items()})
    for block in seeds.blocks:
        schema = schemas[block.type]
        redact.register_secrets(secret_values([{"data": block.values, "block_schema": schema}]))
        problems = check_block_values(block.type, block.values, schema["fields"])
        below = (each.below((*block.path, "values")) for each in problems)
        block.document.report_problems(below, report)
    if report.errors:
        return ""
    done: Counter[str] = Counter()
    for variable in seeds.variables:
        done[(yield from _write(variable, _variable(variable)))] += 1
    for block in seeds.blocks:
        done[(yield from _write(block, _block(block, schemas[block.type])))] += 1
    return ", ".join(f"{count} {word}" for word in _OUTCOMES if (count := done[word]))


def _write(seed: VariableSeed | BlockSeed, writing: ApiCall[str]) -> ApiCall[str]:
    """Runs a call, whose error gets the place where the file declares the object."""
    try:
        return (yield from writing)
    except DeployctlError as error:
        error.span = seed.span
        raise


def _read_schema(block: BlockSeed) -> ApiCall[Json]:
    """The newest schema of a block's type."""
    found = yield from read_block_schema(block.type)
    if found is None:
        slugs = yield from read_block_types()
        error = ObjectNotFound(
            f"the server has no block type '{block.type}'",
            help=did_you_mean(block.type, slugs) or f"It has {quoted(slugs)}.",
        )
        error.span = block.span
        raise error
    return found


def _variable(seed: VariableSeed) -> ApiCall[str]:
    """Creates or updates a variable; returns which of them was done."""
    path, about = paths.variable_by_name(seed.name), f"variable '{seed.name}'"
    body = {"name": seed.name, "value": seed.value}
    if seed.tags is not None:
        body["tags"] = seed.tags
    found = yield from call(Request("GET", path, subject=about, missing_ok=True))
    if found is None:
        yield from create_named(paths.VARIABLES, body, about)
        return "created"
    if isinstance(found["value"], str) and isinstance(seed.value, int | float):
        body["value"] = yield from _as_stored(seed.value)
    if all(same_json(found.get(key), value) for key, value in body.items()):
        return "unchanged"
    yield [Request("PATCH", path, body, subject=about)]
    return "updated"


def _as_stored(value: float) -> ApiCall[Json]:
    """A number or truth value as the server stores it: Prefect 2 makes a text of it."""
    dialect = yield from detect()
    return str(value) if dialect.major == 2 else value


def _block(seed: BlockSeed, schema: Json) -> ApiCall[str]:
    """Creates or updates a block; returns which of them was done."""
    about = f"block '{seed.type}/{seed.name}'"
    values: dict[str, Json] = {}
    for name, value in seed.values.items():
        values[name] = yield from _value(value)
    body = {"data": values, "block_schema_id": schema["id"]}
    found = yield from call(block_with_secrets(seed.type, seed.name))
    if found is None:
        new = {**body, "name": seed.name, "block_type_id": schema["block_type_id"]}
        yield from create_named(paths.BLOCK_DOCUMENTS, new, about)
        return "created"
    nested = {
        name: _reference(each["block_document"]["id"])
        for name, each in (found.get("block_document_references") or {}).items()
    }
    if same_json({**found["data"], **nested}, values):
        return "unchanged"
    update = {**body, "merge_existing_data": False}
    yield [Request("PATCH", paths.block_document(found["id"]), update, subject=about)]
    return "updated"


def _value(value: Json) -> ApiCall[Json]:
    """The value, or the reference to the block that it names. Raises NotFound."""
    named = block_reference(value)
    if named is None:
        return value
    about = f"block '{'/'.join(named)}'"
    found = yield from call(Request("GET", paths.block(*named), subject=about))
    return _reference(found["id"])


def _reference(block_id: str) -> Json:
    return {"$ref": {"block_document_id": block_id}}
