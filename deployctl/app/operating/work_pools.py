"""Create, change and delete work pools without a file that declares them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request
from deployctl.api.paging import pages
from deployctl.api.work_pools import create_named, pool_request, read_pool_names
from deployctl.app.operating.lookup import find_pool, pool_not_found, with_full_names
from deployctl.core.errors import LostResponse, NotFound, UsageError
from deployctl.core.json_values import Json, same_json
from deployctl.core.redact import mask_secrets
from deployctl.core.suggest import did_you_mean
from deployctl.jobs.base_job_templates import POOL_TYPES, base_job_template

_PUSH_TYPES = ("ecs", "azure-container-instance", "cloud-run", "cloud-run-v2")
OTHER_TYPES = (
    *_PUSH_TYPES,
    "vertex-ai",
    *(f"{type_}:push" for type_ in _PUSH_TYPES),
    "modal:push",
    "coiled:push",
    "prefect:managed",
)
"""Prefect's types that deployctl doesn't run: their workers or the server set the template."""


def new_pool(type_: str, fields: Mapping[str, Json]) -> dict[str, Json]:
    """The fields of a pool to create, with the template of its type if none is given.

    Raises UsageError for an unknown type without a template.
    """
    if "base_job_template" in fields or type_ in OTHER_TYPES:
        return {"type": type_, **fields}
    return {"type": type_, "base_job_template": known_template(type_, OTHER_TYPES), **fields}


def known_template(type_: str, others: Iterable[str] = ()) -> Json:
    """The base job template of a type. Raises UsageError if there is none.

    `others` are further types that the command accepts, for the message.
    """
    template = base_job_template(type_)
    if template is None:
        known = (*POOL_TYPES, *others)
        guess = f"{did_you_mean(type_, known) or ''} There are: {', '.join(known)}.".strip()
        more = " A type of your own needs --base-job-template." if others else ""
        raise UsageError(f"unknown type of work pool '{type_}'", help=guess + more)
    return template


def create_pool(name: str, fields: Mapping[str, Json]) -> ApiCall[Json]:
    """Creates a work pool and returns it. Raises Conflict if the name is taken."""
    yield from create_named(paths.WORK_POOLS, {"name": name, **fields}, f"work pool '{name}'")
    return (yield from find_pool(name))


def update_pool(name: str, fields: Mapping[str, Json]) -> ApiCall[tuple[Json, bool]]:
    """Changes the given fields; returns the pool, and whether any of them had another value.

    Raises ObjectNotFound.
    """
    pool = yield from find_pool(name)
    changed = {key: value for key, value in fields.items() if not same_json(pool.get(key), value)}
    if not changed:
        return pool, False
    try:
        yield [pool_request(name, "PATCH", changed)]
    except NotFound:
        raise pool_not_found(name, (yield from read_pool_names())) from None
    return (yield from find_pool(name)), True


def deployments_in_pool(name: str) -> ApiCall[list[str]]:
    """The deployments of a work pool as `FLOW/NAME`, sorted. Raises ObjectNotFound."""
    yield from find_pool(name)
    body = {"work_pools": {"name": {"any_": [name]}}, "sort": "CREATED_DESC"}
    found = yield from with_full_names((yield from pages(paths.DEPLOYMENTS, body, 1)))
    return [each["full_name"] for each in found]


def delete_pool(name: str) -> ApiCall[None]:
    """Deletes a work pool with its queues. Raises ObjectNotFound."""
    path, subject = paths.work_pool(name), f"work pool '{name}'"
    try:
        yield [Request("DELETE", path, idempotent=False, subject=subject)]
    except LostResponse:
        yield [Request("DELETE", path, subject=subject, missing_ok=True)]
    except NotFound:
        raise pool_not_found(name, (yield from read_pool_names())) from None


def without_secrets(pool: Json) -> Json:
    """A pool with masked secrets. In the variables' schemas, only a default can be a secret."""
    template = pool.get("base_job_template") or {}
    variables = template.get("variables") or {}
    properties = {
        name: {**schema, "default": mask_secrets(schema["default"], name)}
        if isinstance(schema, dict) and "default" in schema
        else schema
        for name, schema in (variables.get("properties") or {}).items()
    }
    shown = mask_secrets({key: value for key, value in template.items() if key != "variables"})
    if "variables" in template:
        shown["variables"] = {**variables, "properties": properties}
    return {**pool, "base_job_template": shown}
