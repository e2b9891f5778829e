"""Work pools by hand: looked at, made, changed and deleted without a file that declares them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request
from deployctl.api.work_pools import create_named, read_pool_names
from deployctl.app.operating.lookup import find_pool, pool_not_found
from deployctl.core.errors import LostResponse, NotFound, UsageError
from deployctl.core.json_values import Json
from deployctl.core.redact import mask_secrets
from deployctl.core.suggest import did_you_mean
from deployctl.jobs.base_job_templates import POOL_TYPES, base_job_template

OTHERS = (
    "ecs",
    "azure-container-instance",
    "cloud-run",
    "cloud-run-v2",
    "vertex-ai",
    *(f"{kind}:push" for kind in ("ecs", "azure-container-instance", "cloud-run", "cloud-run-v2")),
    "modal:push",
    "coiled:push",
    "prefect:managed",
)
"""The types of Prefect's pools that deployctl runs nothing of: their template is made elsewhere."""


def new_pool(type_: str, fields: Mapping[str, Json]) -> dict[str, Json]:
    """The fields of a pool that is to be made, with a template where one is known.

    Raises UsageError for a type that nothing is known of, and no template is given for.
    """
    if "base_job_template" in fields or type_ in OTHERS:
        return {"type": type_, **fields}
    return {"type": type_, "base_job_template": known_template(type_, OTHERS), **fields}


def known_template(type_: str, others: Iterable[str] = ()) -> Json:
    """The template for pools of a type. Raises UsageError where there is none.

    `others`: further types that are right where this is asked.
    """
    template = base_job_template(type_)
    if template is None:
        there = (*POOL_TYPES, *others)
        listed = ", ".join(there)
        guess = f"{did_you_mean(type_, there) or ''} There are: {listed}".strip()
        more = "; one of your own needs a --base-job-template" if others else ""
        raise UsageError(f"no type of work pool '{type_}' is known", help=guess + more)
    return template


def create_pool(name: str, fields: Mapping[str, Json]) -> ApiCall[Json]:
    """Creates a work pool and gives it. Raises Conflict where there is one of that name."""
    yield from create_named(paths.WORK_POOLS, {"name": name, **fields}, f"work pool {name}")
    return (yield from find_pool(name))


def update_pool(name: str, fields: Mapping[str, Json]) -> ApiCall[Json]:
    """Changes the given fields and gives the work pool. Raises NotThere."""
    try:
        yield [Request("PATCH", paths.work_pool(name), dict(fields), subject=f"work pool {name}")]
    except NotFound:
        raise pool_not_found(name, (yield from read_pool_names())) from None
    return (yield from find_pool(name))


def delete_pool(name: str) -> ApiCall[None]:
    """Deletes a work pool with its queues. Raises NotThere."""
    path, about = paths.work_pool(name), f"work pool {name}"
    try:
        yield [Request("DELETE", path, idempotent=False, subject=about)]
    except LostResponse:
        yield [Request("DELETE", path, subject=about, missing_ok=True)]
    except NotFound:
        raise pool_not_found(name, (yield from read_pool_names())) from None


def without_secrets(pool: Json) -> Json:
    """A pool to show: of the variables' schemas, only a default can be a secret."""
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
