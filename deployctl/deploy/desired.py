"""Desired resources, built from what file and code declare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deployctl.api.dialect import Dialect
from deployctl.core.json_values import Json
from deployctl.deploy.model import Key, Resource
from deployctl.deploy.resources.automations import desired_automation
from deployctl.deploy.resources.schedules import desired_schedules
from deployctl.project.resources import RESOURCES, api_values, declared_fields, managed_fields
from deployctl.project.variables import as_text


def deployment(
    key: Key,
    fields: Mapping[str, Json],
    automations: Sequence[Mapping[str, Json]] | None,
    *,
    passive: frozenset[str] = frozenset(),
) -> Resource:
    """A deployment with its schedules and automations.

    `fields` are the declared fields by the API's names, with `schedules` among them if they are
    declared (None: those of the server stay); `automations` the bodies of its triggers, None if the
    file doesn't mention triggers. `passive` fields are inferred, not declared.
    """
    children = _schedules(key, fields.get("schedules") or [])
    children += [desired_automation(key, body) for body in automations or ()]
    owned_kinds = {"schedule"} if fields.get("schedules") is not None else set()
    kept_kinds = frozenset({"schedule"} if "schedules" in fields else ()) - owned_kinds
    if automations is not None:
        owned_kinds.add("automation")
    own = declared_fields("deployment", fields)
    return Resource(
        "deployment",
        key,
        own,
        tuple(children),
        frozenset(owned_kinds),
        passive,
        kept_kinds=kept_kinds,
    )


def work_pool(spec: Mapping[str, Json]) -> Resource:
    """An entry of `work_pools:` with its queues.

    Queues are in the order of their priorities, since the server moves the others back for each.
    """
    name = spec["name"]
    by_priority = sorted(
        spec.get("queues") or (), key=lambda queue: queue.get("priority", _LOWEST_PRIORITY)
    )
    queues = [
        Resource("work_queue", (name, queue["name"]), _declared("work_queue", queue))
        for queue in by_priority
    ]
    return Resource("work_pool", (name,), _declared("work_pool", spec), tuple(queues))


def variable(entry: Mapping[str, Json], dialect: Dialect) -> Resource:
    """An item of `variables:`, with its value as this server stores it: text on Prefect 2."""
    value = entry["value"] if dialect.major >= 3 else as_text(entry["value"])
    return Resource(
        "variable", (str(entry["name"]),), _declared("variable", {**entry, "value": value})
    )


def declared(kind: str, key: Key, entry: Mapping[str, Json]) -> Resource:
    """An item of `concurrency_limits:` or `flows:`."""
    return Resource(kind, key, _declared(kind, entry))


def fit_to_server(resource: Resource, dialect: Dialect) -> tuple[Resource, list[str]]:
    """The resource without fields that this server doesn't have, and the names of those.

    Fields of children have their kind in front: `schedule.slug`. Empty and passive fields are not
    worth a warning and not named.
    """
    known = managed_fields(resource.kind, dialect)
    left_out = [
        name
        for name, value in resource.fields.items()
        if name not in known and name not in resource.passive and value not in (None, [], {}, "")
    ]
    children, dropped = [], set()
    for child in resource.children:
        fit, names = fit_to_server(child, dialect)
        children.append(fit)
        dropped |= {f"{child.kind}.{name}" for name in names}
    fields = {name: value for name, value in resource.fields.items() if name in known}
    return replace(resource, fields=fields, children=tuple(children)), left_out + sorted(dropped)


_LOWEST_PRIORITY = 1_000_000


def _declared(kind: str, spec: Mapping[str, Json]) -> dict[str, Json]:
    return declared_fields(kind, api_values(RESOURCES[kind], spec))


def _schedules(key: Key, schedules: Json) -> list[Resource]:
    """One resource per schedule, and one for a value that only a build step will know."""
    entries = schedules if isinstance(schedules, list) else [schedules]
    return desired_schedules(
        key, [entry if isinstance(entry, dict) else {"schedule": entry} for entry in entries]
    )
