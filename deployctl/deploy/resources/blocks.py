"""Blocks, as declared under `blocks:`.

Their values never leave this module but in a request. A desired block has them in `raw`; `read`
compares them with the server's, and in `fields` there is only, by name, whether they are equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployctl.api import paths
from deployctl.api.blocks import block_with_secrets, read_block_schema
from deployctl.api.calls import ApiCall, Request
from deployctl.api.dialect import Dialect
from deployctl.api.work_pools import create_named
from deployctl.core import redact
from deployctl.core.errors import Conflict, DeployctlError
from deployctl.core.json_values import Json, same_json
from deployctl.deploy.model import Change, Key, Op, Resource
from deployctl.deploy.resources import base
from deployctl.deploy.resources.base import ResourceKind
from deployctl.templating.references import secret_values

OTHER = "(another value)"
"""Stands for a value of the server that differs from the desired one."""


class Blocks(ResourceKind):
    """Keyed by type and name. The values are one field: others than the declared ones go."""

    name = "block"
    depth = 2
    rank = 3
    hides_values = True

    def read(self, desired: Sequence[Resource], dialect: Dialect) -> ApiCall[list[Resource]]:  # noqa: ARG002
        """One request for each, in one batch; with secrets, which are kept out of all output."""
        if not desired:
            return []
        answers = yield [block_with_secrets(*each.key) for each in desired]
        redact.register_secrets(secret_values(answers), stored=True)
        return [
            Resource(
                self.name,
                each.key,
                {"values": _compared(values_of(each), answer["data"])},
                id=answer["id"],
                raw=answer,
            )
            for each, answer in zip(desired, answers, strict=True)
            if answer is not None
        ]

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:  # noqa: ARG002
        """Creates, updates or deletes the block, with the newest schema of its type."""
        if change.op is Op.DELETE:
            return (yield from base.delete(change, paths.block_document))
        assert change.desired is not None
        type_slug, name = change.key
        schema = yield from read_block_schema(type_slug)
        if schema is None:
            raise DeployctlError(
                f"the server has no block type '{type_slug}' any more",
                help="Run the same command again.",
            )
        sent = {"data": values_of(change.desired), "block_schema_id": schema["id"]}
        identity = change.current.id if change.current else ""
        if not identity:
            new = {**sent, "name": name, "block_type_id": schema["block_type_id"]}
            try:
                yield from create_named(paths.BLOCK_DOCUMENTS, new, change.title)
                return name
            except Conflict:  # another command has just created it
                (existing,) = yield [block_with_secrets(type_slug, name)]
                identity = existing["id"]
        update = {**sent, "merge_existing_data": False}
        yield [Request("PATCH", paths.block_document(identity), update, subject=change.title)]
        return identity


def desired_block(key: Key, values: Mapping[str, Json]) -> Resource:
    """A block with these values."""
    return Resource("block", key, {"values": dict.fromkeys(values, redact.MASK)}, raw=dict(values))


def values_of(desired: Resource) -> dict[str, Json]:
    """The values of a desired block; none of a block that is only to be read."""
    return dict(desired.raw or {})


def _compared(desired: Mapping[str, Json], current: Mapping[str, Json]) -> dict[str, str]:
    """The names of the current values, each with a mark that says whether it is as desired."""
    return {
        name: redact.MASK if name in desired and same_json(desired[name], value) else OTHER
        for name, value in current.items()
    }
