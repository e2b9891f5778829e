"""Work pools and their queues, as declared under `work_pools:`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, gather
from deployctl.api.dialect import Dialect
from deployctl.api.paging import pages
from deployctl.api.work_pools import create_named, list_queues, pool_request, read_pool
from deployctl.core.errors import Conflict
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, Op, Resource
from deployctl.deploy.resources import base
from deployctl.deploy.resources.base import ResourceKind, body, current_resource


class WorkPools(ResourceKind):
    """Keyed by name.

    The type is set at creation and never compared: that it can't change is checked before any plan.
    """

    name = "work_pool"
    depth = 1
    rank = 4

    def read(self, desired: Sequence[Resource], dialect: Dialect) -> ApiCall[list[Resource]]:
        """One listing for the pools, one for the queues of each pool that declares some."""
        names = sorted(pool.key[0] for pool in desired)
        if not names:
            return []
        named = {"work_pools": {"name": {"any_": names}}}
        found = yield from pages(paths.WORK_POOLS, named, len(names))
        current = {pool["name"]: pool for pool in found}
        with_queues = [pool.key[0] for pool in desired if pool.children and pool.key[0] in current]
        queues = yield from gather({name: list_queues(name) for name in with_queues})
        return [_pool(pool, queues.get(name, ()), dialect) for name, pool in current.items()]

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:  # noqa: ARG002
        """Creates, patches or deletes the pool. Queues are addressed by its name, not by its id."""
        (name,) = change.key
        if change.op is Op.DELETE:
            return (yield from base.delete(change, lambda _id: paths.work_pool(name)))
        sent = body(change)
        if change.op is Op.CREATE:
            try:
                subject = f"work pool '{name}'"
                yield from create_named(paths.WORK_POOLS, {"name": name, **sent}, subject)
                return name
            except Conflict:
                yield from _check_type(name, sent)  # another command has just created it
        sent.pop("type", None)
        yield [pool_request(name, "PATCH", sent)]
        return name


class WorkQueues(ResourceKind):
    """Children of a pool, keyed by pool and name."""

    name = "work_queue"
    depth = 2
    rank = 5
    parent = "work_pool"
    stays = True

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:  # noqa: ARG002
        """Creates, patches or deletes the queue. A new pool comes with a queue named "default"."""
        pool, name = change.key
        if change.op is Op.DELETE:
            return (yield from base.delete(change, lambda _id: paths.work_queue(pool, name)))
        subject, sent = f"work queue '{pool}/{name}'", body(change)
        if change.op is Op.CREATE and name != "default":
            try:
                yield from create_named(paths.work_queues(pool), {"name": name, **sent}, subject)
                return name
            except Conflict:
                pass  # another command has just created it
        yield [Request("PATCH", paths.work_queue(pool, name), sent, subject=subject)]
        return name


def _check_type(name: str, sent: Mapping[str, Json]) -> ApiCall[None]:
    """Raises Conflict if the pool has another type, which cannot be changed."""
    pool = yield from read_pool(name)
    if pool and pool["type"] != sent.get("type", pool["type"]):
        raise Conflict(
            f"the work pool '{name}' was created with the type '{pool['type']}' at the same time",
            help="Run the same command again.",
        )


def _pool(pool: Json, queues: Sequence[Json], dialect: Dialect) -> Resource:
    name = pool["name"]
    children = tuple(
        current_resource("work_queue", (name, queue["name"]), queue, dialect) for queue in queues
    )
    return replace(current_resource("work_pool", (name,), pool, dialect), children=children)
