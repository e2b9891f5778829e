"""Validates the triggers of a deployment and converts them to automations.

The body of an automation equals the one that `prefect deploy` sends, defaults included, so that it
can be compared with the server's answer field by field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from deployctl.core.json_values import Json
from deployctl.project.coerce import is_unresolved
from deployctl.project.shapes import ABSENT, Table
from deployctl.project.trigger_keys import (
    ACTIONS,
    AUTOMATION,
    INNER_TRIGGERS,
    METRIC_QUERY,
    trigger_kind,
)
from deployctl.templating.problems import Problem

_SHORTEST_PROACTIVE = 10.0


def check_triggers(triggers: Sequence[Json], deployment: str) -> Iterator[Problem]:
    """The problems of a deployment's triggers, which were read by `keys.TRIGGERS`.

    Paths begin with the index. Automations are identified by their names, which are given or
    generated; two with one name would be one automation that changes with every deploy (DC233).
    """
    yield from _check_each(triggers)
    seen: set[str] = set()
    number = 0
    for index, trigger in enumerate(triggers):
        number += trigger is not None
        if not isinstance(trigger, Mapping):
            continue
        name = _name(deployment, number, trigger)
        if name in seen and not is_unresolved(name):
            message = f"two triggers of this deployment are named '{name}'"
            yield Problem((index, "name"), "DC233", message, "Give each its own name.")
        seen.add(name)


def automations(deployment: str, triggers: Sequence[Mapping[str, Json]]) -> list[dict[str, Json]]:
    """The bodies of the automations of a deployment's triggers, in order.

    Without tags, which no trigger declares, so that those of the server stay.
    The one action's `deployment_id` is None until the deployment has an id.
    """
    return [
        {
            **_fields(trigger),
            "name": _name(deployment, number, trigger),
            "trigger": _trigger(trigger),
            "actions": [_action(trigger)],
            "actions_on_trigger": [],
            "actions_on_resolve": [],
        }
        for number, trigger in enumerate(triggers, start=1)
    ]


def _name(deployment: str, number: int, trigger: Mapping[str, Json]) -> str:
    """The name of the automation; Prefect generates it from the position of the trigger."""
    return trigger.get("name") or f"{deployment}__automation_{number}"


def _fields(trigger: Mapping[str, Json]) -> dict[str, Json]:
    """The fields of the automation that keys of the trigger set alone."""
    return {
        key.field.name: trigger.get(name, key.field.default)
        for name, key in AUTOMATION.keys.items()
        if key.field and key.field is not ACTIONS
    }


def _action(trigger: Mapping[str, Json]) -> dict[str, Json]:
    """The automation's action: it runs the deployment."""
    given = {
        name: trigger.get(name, key.default)
        for name, key in AUTOMATION.keys.items()
        if key.field is ACTIONS
    }
    return {"type": "run-deployment", "source": "selected", "deployment_id": None, **given}


def _trigger(spec: Mapping[str, Json]) -> dict[str, Json]:
    kind = trigger_kind(spec)
    body = {**_with_defaults(INNER_TRIGGERS[kind], spec), "type": kind}
    match kind:
        case "compound" | "sequence":
            inner = [_trigger(each) for each in spec["triggers"] if each is not None]
            body["triggers"] = inner
            if kind == "compound":
                body["require"] = _count(spec["require"])
        case "metric":
            body["metric"] = _with_defaults(METRIC_QUERY, spec["metric"])
        case "event":
            if body["posture"] == "Proactive" and not body["within"]:
                body["within"] = _SHORTEST_PROACTIVE
    return body


def _count(require: Json) -> Json:
    """`any` and `all` unchanged, and a number in text as a number."""
    return int(require) if isinstance(require, str) and require.isdecimal() else require


def _with_defaults(table: Table, spec: Mapping[str, Json]) -> dict[str, Json]:
    """The values of a table's keys; what is absent has its default, if it has one."""
    return {
        name: spec.get(name, key.default)
        for name, key in table.keys.items()
        if name in spec or key.default is not ABSENT
    }


def _check_each(triggers: Sequence[Json]) -> Iterator[Problem]:
    for index, trigger in enumerate(triggers):
        if isinstance(trigger, Mapping):
            yield from (problem.below((index,)) for problem in _check(trigger))


def _check(trigger: Mapping[str, Json]) -> Iterator[Problem]:
    match trigger_kind(trigger):
        case "event":
            yield from _check_event(trigger)
        case "compound" | "sequence" as kind:
            yield from _check_composite(trigger, kind)


def _check_event(trigger: Mapping[str, Json]) -> Iterator[Problem]:
    if not trigger.get("expect"):
        yield Problem(
            (),
            "DC230",
            "this trigger has no expected event, so every event of the server fires it",
            "Name the events under 'expect'; if all are meant, write expect: ['*'].",
        )
    within = trigger.get("within")
    short = isinstance(within, int | float) and 0 < within < _SHORTEST_PROACTIVE
    if short and trigger.get("posture") == "Proactive":
        message = "a proactive trigger needs at least 10 seconds"
        yield Problem(("within",), "DC231", message, "Set 'within' to 10 or more.")


def _check_composite(trigger: Mapping[str, Json], kind: str) -> Iterator[Problem]:
    inner = trigger.get("triggers")
    if isinstance(inner, list):
        yield from (problem.below(("triggers",)) for problem in _check_each(inner))
    require = _count(trigger.get("require"))
    if kind != "compound" or require is None or is_unresolved(require):
        return
    most = sum(each is not None for each in inner) if isinstance(inner, list) else 0
    counted = isinstance(require, int) and not isinstance(require, bool)
    if require not in ("any", "all") and not (counted and 1 <= require <= most):
        message = f"'require' cannot be '{require}'"
        help_ = f"It can be any, all, or a number from 1 to {most}."
        yield Problem(("require",), "DC232", message, help_)
