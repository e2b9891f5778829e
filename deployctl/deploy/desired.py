"""From what file and code say to the items that the engine compares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from deployctl.api.dialect import Dialect
from deployctl.core.json_values import Json
from deployctl.deploy.model import Key, Resource
from deployctl.deploy.resources import RESOURCE_KINDS
from deployctl.deploy.resources.automations import desired_automation
from deployctl.deploy.resources.deployments import FIELDS
from deployctl.deploy.resources.schedules import desired_schedule


def deployment(
    key: Key,
    fields: Mapping[str, Json],
    automations: Sequence[Mapping[str, Json]] | None,
    *,
    passive: frozenset[str] = frozenset(),
) -> Resource:
    """A deployment as an item.

    `fields` are declared fields by the API's names, with `schedules` among them if they are
    declared; `automations` the bodies of its triggers, None where the file says nothing of them.
    `passive` fields were inferred, written by nobody.
    """
    own = {name: fields[name] for name in (*FIELDS, "version_info") if name in fields}
    children = list(_schedules(key, fields.get("schedules") or []))
    children += [desired_automation(key, body) for body in automations or ()]
    owns = {"schedule"} if "schedules" in fields else set()
    if automations is not None:
        owns.add("automation")
    return Resource("deployment", key, own, tuple(children), frozenset(owns), passive)


def work_pool(spec: Mapping[str, Json]) -> Resource:
    """An entry of `work_pools:`.

    Its queues come with the first priority first: the server moves the others back for each.
    """
    fields = {_API_NAMES.get(name, name): value for name, value in spec.items()}
    name, queues = fields.pop("name"), fields.pop("queues", None) or ()
    in_order = sorted(queues, key=lambda queue: queue.get("priority", _LAST))
    return Resource("work_pool", (name,), fields, tuple(_queue(name, queue) for queue in in_order))


def fit_to_server(item: Resource, dialect: Dialect) -> tuple[Resource, list[str]]:
    """The item without what this server does not know, and the names of what was left out."""
    rules = RESOURCE_KINDS[item.kind].rules(dialect)
    left_out = [
        name
        for name, value in item.fields.items()
        if name not in rules and name not in item.passive and value not in (None, [], {}, "")
    ]
    children, dropped = [], []
    for child in item.children:
        fit, names = fit_to_server(child, dialect)
        children.append(fit)
        dropped += [f"{child.kind}.{name}" for name in names]
    fields = {name: value for name, value in item.fields.items() if name in rules}
    return (
        Resource(
            item.kind,
            item.key,
            fields,
            tuple(children),
            item.owned_kinds,
            item.passive,
            raw=item.raw,
        ),
        left_out + sorted(set(dropped)),
    )


_API_NAMES = {"paused": "is_paused"}
_LAST = 1_000_000


def _queue(pool: str, spec: Mapping[str, Json]) -> Resource:
    fields = {_API_NAMES.get(name, name): value for name, value in spec.items()}
    return Resource("work_queue", (pool, fields.pop("name")), fields)


def _schedules(key: Key, schedules: Json) -> Iterator[Resource]:
    """One for each, and for what only a step will know: that may be one, or a list of them."""
    seen: dict[Key, int] = {}
    for said in schedules if isinstance(schedules, list) else [schedules]:
        fields = said if isinstance(said, dict) else {"schedule": said}
        first = desired_schedule(key, fields)
        ordinal = seen[first.key] = seen.get(first.key, -1) + 1
        yield desired_schedule(key, fields, ordinal) if ordinal else first
