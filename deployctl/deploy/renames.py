"""What a renamed deployment keeps of the one that it replaces. Pure.

No server renames a deployment, or moves it to another flow: PATCH refuses `name` and `flow_id`, and
POST refuses an `id` (Prefect 2.20.27 and 3.9.1). So it is created under its new name with what was
set in the UI, and the old one is deleted. Flow runs cannot be moved either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deployctl.api.dialect import Dialect
from deployctl.core.json_values import Json
from deployctl.deploy.model import Resource
from deployctl.deploy.plan import DeclaredFields
from deployctl.deploy.resources import RESOURCE_KINDS
from deployctl.deploy.resources.base import default_of
from deployctl.project.resources import managed_fields

_OF_CODE = frozenset({"entrypoint", "version", "version_info", "parameter_openapi_schema"})
"""Fields that describe the code of a deployment, which the new one has of its own."""
_OF_POOL = frozenset({"work_pool_name", "work_queue_name", "job_variables"})
"""Fields that another work pool may give another meaning."""


def carry_over(
    desired: Resource, old: Resource, declared: DeclaredFields, dialect: Dialect
) -> tuple[Resource, list[str]]:
    """A deployment with what the file never declared of the old one, and the names of that.

    It is passive: written once, and not ours later. `declared` are the fields that an earlier apply
    declared on the old one: what the file omits of them goes back to its default.
    """
    pool = desired.fields.get("work_pool_name", old.fields.get("work_pool_name"))
    excluded = _OF_CODE | (frozenset() if pool == old.fields.get("work_pool_name") else _OF_POOL)
    merged = _with_fields(desired, old, declared, dialect, excluded)
    names = sorted(merged.passive - desired.passive)
    children = tuple(_children(desired, old, declared, dialect))
    if children != desired.children:
        names.append("schedules")
    return replace(merged, children=children), names


def _children(
    desired: Resource, old: Resource, declared: DeclaredFields, dialect: Dialect
) -> Iterator[Resource]:
    """The children, schedules with the state of the old ones, or those themselves."""
    schedules = [child for child in desired.children if child.kind == "schedule"]
    others = [child for child in desired.children if child.kind != "schedule"]
    former = [child for child in old.children if child.kind == "schedule"]
    is_owned = "schedule" in desired.owned_kinds
    was_owned = "schedule" in declared(old.kind, old.key) - desired.kept_kinds
    for child, present in RESOURCE_KINDS["schedule"].pair(schedules, former):
        if child is not None:
            yield _with_fields(child, present, declared, dialect) if present else child
        elif present is not None and not is_owned and not was_owned:
            empty = Resource("schedule", (*desired.key, present.key[-1]), {})
            yield _with_fields(empty, present, lambda *_: frozenset(), dialect)
    yield from others


def _with_fields(
    desired: Resource,
    old: Resource,
    declared: DeclaredFields,
    dialect: Dialect,
    excluded: frozenset[str] = frozenset(),
) -> Resource:
    known = managed_fields(desired.kind, dialect)
    omitted = known.keys() - desired.fields.keys() - declared(old.kind, old.key) - excluded
    added: dict[str, Json] = {
        name: value
        for name in sorted(omitted)
        if not known[name].same(value := old.fields.get(name), default_of(known[name], dialect))
    }
    fields = {**desired.fields, **added}
    return replace(desired, fields=fields, passive=desired.passive | added.keys())
