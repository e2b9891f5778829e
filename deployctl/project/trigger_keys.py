"""The keys of triggers, and the fields of the automations that they become."""

from __future__ import annotations

from collections.abc import Mapping

from deployctl.api.dialect import NEVER, Range
from deployctl.core.json_values import Json
from deployctl.project import moved_keys as moved
from deployctl.project.comparisons import same_actions, same_text, same_trigger
from deployctl.project.shapes import (
    Anything,
    Choice,
    Duration,
    Either,
    Field,
    Flag,
    Key,
    ListOf,
    Mapping_,
    MovedKey,
    Number,
    Table,
    Text,
)

_LABELS = Either(mapping=Mapping_())
_RESOURCE_KEYS: dict[str, Key] = {
    "match": Key(
        _LABELS, "Labels of the resource that the event is about.", default={}, null_refused=True
    ),
    "match_related": Key(
        Either(mapping=Mapping_(), many=ListOf(Mapping_())),
        "Labels of related resources.",
        default={},
        null_refused=True,
    ),
}
ACTIONS = Field("actions", same=same_actions)
"""What an automation does: here always one action, which runs the deployment."""
AUTOMATION = Table(
    "automation",
    {
        "name": Key(Text(), "The automation's name.", Field("name", managed=False)),
        "description": Key(
            Text(),
            "What the automation is for.",
            Field("description", same=same_text, default=""),
            null="",
            null_refused=True,
        ),
        "enabled": Key(
            Flag(),
            "Whether the automation is evaluated.",
            Field("enabled", default=True),
            null_refused=True,
        ),
        "parameters": Key(
            Mapping_(),
            "Parameters of the run; may hold templates of the event.",
            ACTIONS,
            default=None,
        ),
        "job_variables": Key(Mapping_(), "Job variables of the run.", ACTIONS, default=None),
        "schedule_after": Key(
            Duration(),
            "How long to wait before the run.",
            ACTIONS,
            since=(3, 4, 15),
            default=0.0,
            null_refused=True,
        ),
    },
    fields=(
        Field("tags", Range((3, 4, 7)), default=[]),
        Field("trigger", same=same_trigger),
        ACTIONS,
        Field("actions_on_trigger", managed=False),
        Field("actions_on_resolve", managed=False),
        Field("owner_resource", update=NEVER, managed=False),
    ),
)
"""What a trigger says of the automation that it becomes, beside when it fires."""
_EVENTS = ListOf(Text(), single=True, single_refused=True, unique=True)


def _trigger(name: str, keys: Mapping[str, Key]) -> Table:
    kind = Key(Text(choices=(name,)), "The kind of trigger.")
    return Table(f"inner {name} trigger", {"type": kind, **keys})


_EVENT = _trigger(
    "event",
    {
        **_RESOURCE_KEYS,
        "after": Key(_EVENTS, "Events that must be seen first.", default=[], null_refused=True),
        "expect": Key(
            _EVENTS, "The events that fire it: `prefect.flow-run.Failed`.", default=[], null=[]
        ),
        "for_each": Key(
            _EVENTS, "Labels for each value of which it fires.", default=[], null_refused=True
        ),
        "posture": Key(
            Text(choices=("Reactive", "Proactive")),
            "Whether it fires on the presence or the absence of events.",
            default="Reactive",
        ),
        "threshold": Key(Number(), "How many events it takes.", default=1, null_refused=True),
        "within": Key(
            Duration(), "The time in which they must come.", default=0.0, null_refused=True
        ),
    },
)
_METRIC_WINDOW = 300.0
METRIC_QUERY = Table(
    "metric",
    {
        "name": Key(
            Text(), "What is measured: `lateness`, `duration`, `successes`, …", required=True
        ),
        "threshold": Key(Number(whole=False), "The value to compare.", required=True),
        "operator": Key(Text(choices=("<", "<=", ">", ">=")), "How to compare.", required=True),
        "range": Key(
            Duration(minimum=300),
            "The time looked back.",
            default=_METRIC_WINDOW,
            null_refused=True,
        ),
        "firing_for": Key(
            Duration(minimum=300),
            "How long it must hold.",
            default=_METRIC_WINDOW,
            null_refused=True,
        ),
    },
)
_METRIC = _trigger(
    "metric",
    {
        **_RESOURCE_KEYS,
        "posture": Key(Text(choices=("Metric",)), "Always `Metric`.", default="Metric"),
        "metric": Key(METRIC_QUERY, "The query that is evaluated.", required=True),
    },
)


def trigger_kind(trigger: Mapping[str, Json]) -> str:
    """The kind of a trigger; where it is not said, what its other keys give away."""
    if isinstance(trigger.get("type"), str):
        return str(trigger["type"])
    if trigger.get("posture") == "Metric":
        return "metric"
    if "triggers" in trigger:
        return "compound" if "require" in trigger else "sequence"
    return "event"


INNER_TRIGGERS: dict[str, Table] = {"event": _EVENT, "metric": _METRIC}
_INNER = Choice(lambda: INNER_TRIGGERS, trigger_kind)
_COMPOSITE_KEYS: dict[str, Key] = {
    "triggers": Key(ListOf(_INNER), "The triggers that it is made of.", required=True),
    "within": Key(Duration(), "The time in which they must fire.", default=None),
}
INNER_TRIGGERS["compound"] = _trigger(
    "compound",
    {
        **_COMPOSITE_KEYS,
        "require": Key(Anything(), "How many must fire: `any`, `all` or a number.", required=True),
    },
)
INNER_TRIGGERS["sequence"] = _trigger("sequence", _COMPOSITE_KEYS)
TRIGGERS: dict[str, Table] = {
    name: Table(
        f"{name} trigger",
        {**table.keys, **AUTOMATION.keys},
        moved={
            "expects": moved.rename("expect"),
            "actions": MovedKey("the action is to run this deployment"),
        },
        strict=True,
    )
    for name, table in INNER_TRIGGERS.items()
}
