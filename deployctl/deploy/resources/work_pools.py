"""Work pools and their queues, as declared under `work_pools:`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, gather
from deployctl.api.dialect import Dialect
from deployctl.api.paging import pages
from deployctl.api.work_pools import create_named, list_queues
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, Op, Resource, Rule
from deployctl.deploy.resources.base import ResourceKind, same_text

_POOL_FIELDS = ("type", "base_job_template", "description", "concurrency_limit", "is_paused")
_QUEUE_FIELDS = ("description", "concurrency_limit", "priority", "is_paused")


class WorkPools(ResourceKind):
    """Keyed by name. The type is given at creation and stays."""

    name = "work_pool"
    depth = 1
    rank = 0

    def rules(self, dialect: Dialect) -> Mapping[str, Rule]:  # noqa: ARG002
        """The type is not compared: it cannot be changed, which is checked before any plan."""
        return {
            "type": Rule(same=lambda _want, _have: True),
            "base_job_template": Rule(default={}, clears=False),
            "description": Rule(same_text),
            "concurrency_limit": Rule(),
            "is_paused": Rule(default=False),
        }

    def read(self, wanted: Sequence[Resource], dialect: Dialect) -> ApiCall[list[Resource]]:  # noqa: ARG002
        """One listing for the pools, one for the queues of each pool that declares some."""
        names = sorted(item.key[0] for item in wanted)
        if not names:
            return []
        body = {"work_pools": {"name": {"any_": names}}}
        found = yield from pages(paths.WORK_POOLS, body, len(names))
        live = {pool["name"]: pool for pool in found}
        asked = [item.key[0] for item in wanted if item.children and item.key[0] in live]
        queues = yield from gather({name: list_queues(name) for name in asked})
        return [
            _pool(pool, tuple(_queue(name, queue) for queue in queues.get(name, ())))
            for name, pool in live.items()
        ]

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:  # noqa: ARG002
        """Creates or patches the pool; its id is not used, its name is."""
        (name,) = change.key
        about = f"work pool {name}"
        body = _body(change)
        if change.op is Op.CREATE:
            yield from create_named(paths.WORK_POOLS, {"name": name, **body}, about)
        else:
            body.pop("type", None)
            yield [Request("PATCH", paths.work_pool(name), body, subject=about)]
        return name


class WorkQueues(ResourceKind):
    """Children of a pool, keyed by pool and name."""

    name = "work_queue"
    depth = 2
    rank = 1
    parent = "work_pool"

    def rules(self, dialect: Dialect) -> Mapping[str, Rule]:  # noqa: ARG002
        """What a queue has beside its name."""
        return {
            "description": Rule(same_text, default=""),
            "concurrency_limit": Rule(),
            "priority": Rule(default=1),
            "is_paused": Rule(default=False),
        }

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:  # noqa: ARG002
        """Creates or patches the queue. A new pool comes with a queue named "default"."""
        pool, name = change.key
        about, body = f"work queue {pool}/{name}", _body(change)
        if change.op is Op.CREATE and name != "default":
            yield from create_named(paths.work_queues(pool), {"name": name, **body}, about)
        else:
            yield [Request("PATCH", paths.work_queue(pool, name), body, subject=about)]
        return name


def _body(change: Change) -> dict[str, Json]:
    assert change.desired is not None
    return {**change.desired.fields, **{part.field: part.new for part in change.fields}}


def _pool(pool: Json, queues: tuple[Resource, ...]) -> Resource:
    fields = {name: pool.get(name) for name in _POOL_FIELDS}
    return Resource("work_pool", (pool["name"],), fields, queues, id=pool["id"], raw=pool)


def _queue(pool: str, queue: Json) -> Resource:
    fields = {name: queue.get(name) for name in _QUEUE_FIELDS}
    return Resource("work_queue", (pool, queue["name"]), fields, id=queue["id"], raw=queue)
