"""Entries of `deployments:` that declare what a server has: the way back from `deploy.desired`.

What a key would set anyway, when the deployment is created, isn't written. What no entry can say is
left out, or a reason why there is no entry at all; `app.exporting` compares the result with what it
was made from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deployctl.api.dialect import Dialect
from deployctl.core.json_values import Json, leaves, same_json
from deployctl.deploy.model import Resource
from deployctl.deploy.resources.base import default_of
from deployctl.project import keys
from deployctl.project.comparisons import same_number
from deployctl.project.shapes import ABSENT, Key, Table
from deployctl.project.trigger_keys import ACTIONS, AUTOMATION, INNER_TRIGGERS, METRIC_QUERY
from deployctl.templating.grammar import PlaceholderKind, placeholders

_INFERRED_VERSION = re.compile(r"[0-9a-f]{32}|(?=.*[a-f])[0-9a-f]{8}")
"""The hash of a flow's file, or the start of a commit's."""


@dataclass(frozen=True, slots=True)
class ExportedEntry:
    """An entry, and what it can't say."""

    values: Mapping[str, Json]
    left_out: Mapping[str, tuple[str, ...]]
    """Key → why it doesn't say everything that the server has."""


def deployment_entry(current: Resource, dialect: Dialect) -> ExportedEntry:
    """The entry of a deployment that has an entrypoint."""
    flow, name = current.key
    fields = current.fields
    triggers, others = _triggers(current)
    given: dict[str, Json] = {
        "name": name,
        "flow_name": _flow_name(flow, str(fields["entrypoint"])),
        "version": _declared_version(fields.get("version")),
        "enforce_parameter_schema": _enforce(fields, dialect),
        "schedules": _schedules(current, dialect) or ABSENT,
        "concurrency_limit": _concurrency(fields),
        "work_pool": _plain_values(keys.WORK_POOL, fields, dialect) or ABSENT,
        "pull": fields.get("pull_steps") or [],
        "triggers": triggers or ABSENT,
    }
    values = {}
    for key_name, key in keys.DEPLOYMENT.keys.items():
        value = given[key_name] if key_name in given else _plain(key, fields, dialect)
        if value is not ABSENT:
            values[key_name] = value
    return ExportedEntry(values, {"triggers": tuple(others)} if others else {})


def variables_in(value: Json) -> list[str]:
    """The environment variables that placeholders in a value name, sorted."""
    texts = (leaf for _, leaf in leaves(value) if isinstance(leaf, str))
    found = (each for text in texts for each in placeholders(text))
    return sorted({each.target for each in found if each.kind is PlaceholderKind.ENV})


def looks_inferred(version: Json) -> bool:
    """Whether a version is the hash that Prefect takes where none is declared."""
    return isinstance(version, str) and bool(_INFERRED_VERSION.fullmatch(version))


def _plain(key: Key, fields: Mapping[str, Json], dialect: Dialect) -> Json:
    """The value of a key that sets one field by itself; ABSENT if it is the field's default."""
    field = key.field
    if field is None or not field.managed:
        return ABSENT
    value = fields.get(field.name)
    is_default = value is None or field.same(default_of(field, dialect), value)
    return ABSENT if is_default else value


def _plain_values(table: Table, fields: Mapping[str, Json], dialect: Dialect) -> dict[str, Json]:
    found = {name: _plain(key, fields, dialect) for name, key in table.keys.items()}
    return {name: value for name, value in found.items() if value is not ABSENT}


def _flow_name(flow: str, entrypoint: str) -> Json:
    """The flow's name, unless it is that of its function in a file that says so."""
    function = re.split(r"[:.]", entrypoint)[-1]
    is_derived = flow == function.replace("_", "-") and ".py:" in entrypoint
    return ABSENT if is_derived else flow


def _declared_version(version: Json) -> Json:
    return ABSENT if not version or looks_inferred(version) else version


def _enforce(fields: Mapping[str, Json], dialect: Dialect) -> Json:
    """False is always written: checks of the file assume true, and Prefect 2 false."""
    value = fields.get("enforce_parameter_schema")
    if value is False:
        return False
    return _plain(keys.DEPLOYMENT.keys["enforce_parameter_schema"], fields, dialect)


def _concurrency(fields: Mapping[str, Json]) -> Json:
    limit = fields.get("concurrency_limit")
    if limit is None:
        return ABSENT
    options = fields.get("concurrency_options") or {}
    set_ = {name: value for name, value in options.items() if value is not None}
    return {"limit": limit, **set_} if set_ else limit


def _schedules(current: Resource, dialect: Dialect) -> list[Json]:
    return [
        _schedule(child.fields, dialect) for child in current.children if child.kind == "schedule"
    ]


def _schedule(fields: Mapping[str, Json], dialect: Dialect) -> dict[str, Json]:
    times = fields[keys.TIMES.name]
    entry = {}
    for name, key in keys.SCHEDULE.keys.items():
        if key.field is keys.TIMES:
            value = times.get(name)
            is_default = value is None or (name, value) in (("timezone", "UTC"), ("day_or", True))
            value = ABSENT if is_default else _tidy(value)
        else:
            value = _plain(key, fields, dialect)
        if value is not ABSENT:
            entry[name] = value
    return entry


def _triggers(current: Resource) -> tuple[list[Json], list[str]]:
    """The triggers that make the deployment's automations; and why others can't be triggers."""
    entries, reasons = [], []
    for automation in current.children:
        if automation.kind != "automation":
            continue
        if reason := _no_trigger(automation.raw):
            name = automation.key[-1]
            reasons.append(f"the automation '{name}' stays as it is: it {reason}")
        else:
            entries.append(_trigger(automation))
    return entries, reasons


def _no_trigger(automation: Mapping[str, Json]) -> str:
    """Why an automation that runs a deployment can't be written as a trigger; "" if it can."""
    actions = automation.get("actions") or ()
    if len(actions) != 1:
        return f"has {len(actions)} actions"
    if automation.get("actions_on_trigger") or automation.get("actions_on_resolve"):
        return "has further actions when it fires or resolves"
    kind = (automation.get("trigger") or {}).get("type")
    return "" if kind in INNER_TRIGGERS else f"has a trigger of type '{kind}'"


def _trigger(automation: Resource) -> dict[str, Json]:
    (action,) = automation.raw["actions"]
    when = _inner_trigger(automation.fields["trigger"])
    entry = {"name": automation.key[-1], **when}
    for name, key in AUTOMATION.keys.items():
        if name == "name" or key.field is None:
            continue
        source = action if key.field is ACTIONS else automation.fields
        default = key.default if key.field is ACTIONS else key.field.default
        value = source.get(name)
        if value is not None and not same_number(default, value):
            entry[name] = _tidy(value)
    return entry


def _inner_trigger(trigger: Mapping[str, Json]) -> dict[str, Json]:
    kind = str(trigger["type"])
    entry: dict[str, Json] = {"type": kind}
    for name, key in INNER_TRIGGERS[kind].keys.items():
        value = trigger.get(name)
        if name in ("triggers", "metric", "type") or value is None:
            continue
        if key.default is ABSENT or not same_number(key.default, value):
            entry[name] = _tidy(value)
    if "triggers" in trigger:
        entry["triggers"] = [_inner_trigger(each) for each in trigger["triggers"]]
    if "metric" in trigger:
        entry["metric"] = {
            name: _tidy(trigger["metric"][name])
            for name in METRIC_QUERY.keys
            if trigger["metric"].get(name) is not None
        }
    return entry


def _tidy(value: Json) -> Json:
    """A number of seconds as people write it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def shared_pull(entries: Iterable[Mapping[str, Json]]) -> Json:
    """The pull steps of all entries, if there are several and they have the same; else None."""
    found = [each["pull"] for each in entries]
    same = len(found) > 1 and all(same_json(found[0], each) for each in found)
    return found[0] if same else None
