"""API calls about blocks and their types."""

from __future__ import annotations

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.paging import pages
from deployctl.core.json_values import Json


def block_with_secrets(type_slug: str, name: str) -> Request:
    """A request for a block with its secret values; None is answered if it doesn't exist."""
    path = f"{paths.block(type_slug, name)}?include_secrets=true"
    return Request("GET", path, subject=f"block '{type_slug}/{name}'", missing_ok=True)


def read_block_schema(type_slug: str) -> ApiCall[Json]:
    """The newest schema of a type of blocks; None if the server has no such type.

    It has `id`, `block_type_id` and `fields`, a JSON Schema with `secret_fields`.
    """
    found = yield from call(Request("GET", paths.block_type(type_slug), missing_ok=True))
    if found is None:
        return None
    of_type = {"block_schemas": {"block_type_id": {"any_": [found["id"]]}}}
    schemas = yield from pages(paths.BLOCK_SCHEMAS, of_type, 1)
    return max(schemas, key=lambda each: str(each["created"]), default=None)


def read_block_types() -> ApiCall[list[str]]:
    """The slugs of all types of blocks, sorted: for "did you mean" in messages."""
    return sorted(each["slug"] for each in (yield from pages(paths.BLOCK_TYPES, {}, 1)))
