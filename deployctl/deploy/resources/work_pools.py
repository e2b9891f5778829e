"""Work pools and their queues, as declared under `work_pools:`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from deployctl.api.calls import ApiCall, Request, gather
from deployctl.api.dialect import Dialect
from deployctl.core.errors import Conflict, LostAnswer
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, Op, Resource, Rule
from deployctl.deploy.resources.base import Kind, pages, same_text

_POOL_FIELDS = ("type", "base_job_template", "description", "concurrency_limit", "is_paused")
_QUEUE_FIELDS = ("description", "concurrency_limit", "priority", "is_paused")


class WorkPools(Kind):
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
        found = yield from pages("/work_pools/filter", body, len(names))
        live = {pool["name"]: pool for pool in found}
        asked = [item.key[0] for item in wanted if item.children and item.key[0] in live]
        queues = yield from gather(
            {name: pages(f"{_path(name)}/queues/filter", {}, expected=1) for name in asked}
        )
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
            yield from create_once("/work_pools/", {"name": name, **body}, about)
        else:
            body.pop("type", None)
            yield [Request("PATCH", _path(name), body, about=about)]
        return name


class WorkQueues(Kind):
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
        path = f"{_path(pool)}/queues"
        if change.op is Op.CREATE and name != "default":
            yield from create_once(f"{path}/", {"name": name, **body}, about)
        else:
            yield [Request("PATCH", f"{path}/{quote(name, safe='')}", body, about=about)]
        return name


def read_pool_names() -> ApiCall[list[str]]:
    """The names of all pools, for messages."""
    return sorted(pool["name"] for pool in (yield from pages("/work_pools/filter", {}, 1)))


def read_queue_names(pool: str) -> ApiCall[list[str]]:
    """The names of a pool's queues."""
    found = yield from pages(f"{_path(pool)}/queues/filter", {}, 1)
    return [queue["name"] for queue in found]


def create_once(path: str, body: Json, about: str) -> ApiCall[None]:
    """Creates an object that has a unique name. When the answer is lost and the object is there
    at the second try, the first one made it.
    """
    request = Request("POST", path, body, repeat=False, about=about)
    try:
        yield [request]
    except LostAnswer:
        try:
            yield [request]
        except Conflict:
            return


def _path(pool: str) -> str:
    return f"/work_pools/{quote(pool, safe='')}"


def _body(change: Change) -> dict[str, Json]:
    assert change.want is not None
    return {**change.want.fields, **{part.field: part.new for part in change.fields}}


def _pool(pool: Json, queues: tuple[Resource, ...]) -> Resource:
    fields = {name: pool.get(name) for name in _POOL_FIELDS}
    return Resource("work_pool", (pool["name"],), fields, queues, id=pool["id"], raw=pool)


def _queue(pool: str, queue: Json) -> Resource:
    fields = {name: queue.get(name) for name in _QUEUE_FIELDS}
    return Resource("work_queue", (pool, queue["name"]), fields, id=queue["id"], raw=queue)
