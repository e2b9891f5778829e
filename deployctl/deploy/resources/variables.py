"""Variables, as declared under `variables:`."""

from __future__ import annotations

from collections.abc import Sequence

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request
from deployctl.api.dialect import Dialect
from deployctl.api.paging import pages
from deployctl.api.work_pools import create_named
from deployctl.core import redact
from deployctl.core.errors import Conflict
from deployctl.deploy.model import Change, Op, Resource
from deployctl.deploy.resources import base
from deployctl.deploy.resources.base import ResourceKind, body, current_resource


class Variables(ResourceKind):
    """Keyed by name."""

    name = "variable"
    depth = 1
    rank = 0

    def read(self, desired: Sequence[Resource], dialect: Dialect) -> ApiCall[list[Resource]]:
        """One listing for all."""
        names = sorted(each.key[0] for each in desired)
        if not names:
            return []
        found = yield from pages(
            paths.VARIABLES, {"variables": {"name": {"any_": names}}}, len(names)
        )
        current = {each["name"]: each["value"] for each in found}
        redact.register_secrets(redact.find_secrets(current))
        return [current_resource(self.name, (each["name"],), each, dialect) for each in found]

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:  # noqa: ARG002
        """Creates, patches or deletes the variable."""
        (name,) = change.key
        if change.op is Op.DELETE:
            return (yield from base.delete(change, paths.variable))
        sent = body(change)
        if change.op is Op.CREATE:
            try:
                yield from create_named(paths.VARIABLES, {"name": name, **sent}, change.title)
                return name
            except Conflict:
                pass  # another command has just created it
        yield [Request("PATCH", paths.variable_by_name(name), sent, subject=change.title)]
        return name
