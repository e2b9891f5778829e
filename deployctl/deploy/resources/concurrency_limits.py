"""Concurrency limits, as declared under `concurrency_limits:`: global ones, and those of tags.

A listing of the limits of tags misses some of them once there are more than 200 limits of all
kinds (3.9.1), and listings have no filter: each limit is read by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request
from deployctl.api.dialect import Dialect
from deployctl.api.work_pools import create_named
from deployctl.core.errors import Conflict
from deployctl.deploy.model import Change, Op, Resource
from deployctl.deploy.resources import base
from deployctl.deploy.resources.base import ResourceKind, body, current_resource


class GlobalLimits(ResourceKind):
    """Keyed by name."""

    name = "global_concurrency_limit"
    depth = 1
    rank = 1

    def read(self, desired: Sequence[Resource], dialect: Dialect) -> ApiCall[list[Resource]]:
        """One request for each, in one batch."""
        return (yield from _read(self.name, desired, paths.global_limit, dialect))

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:  # noqa: ARG002
        """Creates, patches or deletes the limit; a patch leaves its taken slots as they are."""
        (name,) = change.key
        path = paths.global_limit(name)
        if change.op is Op.DELETE:
            return (yield from base.delete(change, lambda _id: path))
        if change.op is Op.CREATE:
            try:
                sent = {"name": name, **body(change)}
                yield from create_named(paths.GLOBAL_LIMITS, sent, change.title)
                return name
            except Conflict:
                pass  # another command has just created it
        yield [Request("PATCH", path, body(change), subject=change.title)]
        return name


class TagLimits(ResourceKind):
    """Keyed by tag."""

    name = "tag_concurrency_limit"
    depth = 1
    rank = 2

    def read(self, desired: Sequence[Resource], dialect: Dialect) -> ApiCall[list[Resource]]:
        """One request for each, in one batch."""
        return (yield from _read(self.name, desired, paths.tag_limit, dialect))

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:  # noqa: ARG002
        """Creates or updates the limit, both by POST, or deletes it."""
        (tag,) = change.key
        if change.op is Op.DELETE:
            return (yield from base.delete(change, lambda _id: paths.tag_limit(tag)))
        sent = {"tag": tag, **body(change)}
        yield [Request("POST", paths.TAG_LIMITS, sent, subject=change.title)]
        return tag


def _read(
    kind: str, desired: Sequence[Resource], path: Callable[[str], str], dialect: Dialect
) -> ApiCall[list[Resource]]:
    keys = [each.key for each in desired]
    if not keys:
        return []
    answers = yield [Request("GET", path(key[0]), missing_ok=True) for key in keys]
    return [
        current_resource(kind, key, answer, dialect)
        for key, answer in zip(keys, answers, strict=True)
        if answer is not None
    ]
