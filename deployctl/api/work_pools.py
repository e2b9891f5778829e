"""API calls about work pools that commands, the engine and the worker share."""

from __future__ import annotations

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.paging import pages
from deployctl.core.errors import Conflict, LostResponse
from deployctl.core.json_values import Json


def pool_request(name: str, method: str, body: Json = None, *, missing_ok: bool = False) -> Request:
    """A request for one work pool."""
    about = f"work pool '{name}'"
    return Request(method, paths.work_pool(name), body, subject=about, missing_ok=missing_ok)


def read_pool(name: str) -> ApiCall[Json]:
    """The work pool, or None if there is none of that name."""
    return (yield from call(pool_request(name, "GET", missing_ok=True)))


def list_pools() -> ApiCall[list[Json]]:
    """All work pools, sorted by name."""
    found = yield from pages(paths.WORK_POOLS, {}, 1)
    return sorted(found, key=lambda pool: str(pool["name"]))


def read_pool_names() -> ApiCall[list[str]]:
    """The names of all work pools, sorted: for "did you mean" and "there are" in messages."""
    return [pool["name"] for pool in (yield from list_pools())]


def list_queues(pool: str) -> ApiCall[list[Json]]:
    """All queues of a work pool."""
    return (yield from pages(paths.work_queues(pool), {}, 1))


def create_named(path: str, body: Json, about: str) -> ApiCall[None]:
    """Creates an object whose name is unique. Raises Conflict if the name is taken.

    If the answer is lost, the request is sent again: a conflict then means that the first try
    created the object.
    """
    request = Request("POST", path, body, idempotent=False, subject=about)
    try:
        yield [request]
    except LostResponse:
        try:
            yield [request]
        except Conflict:
            return
