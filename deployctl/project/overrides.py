"""Applies the flags of `prefect deploy` to entries of the file.

They mean the same as there, for every selected deployment, with these differences: `--job-variable`
adds to the file's variables and parses values as JSON, as `--param` does; `--timezone` and
`--anchor-date` apply to the schedules of the command line if it has any, and otherwise to the
file's; `--collision-strategy` also applies to the file's limit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deployctl.core.diagnostics import Report
from deployctl.core.errors import UsageError
from deployctl.core.json_values import Json
from deployctl.project.document import read_document


@dataclass(frozen=True, slots=True)
class Overrides:
    """The parsed flags of a command. None or empty: not given."""

    description: str | None = None
    version: str | None = None
    version_type: str | None = None
    tags: tuple[str, ...] = ()
    concurrency_limit: int | None = None
    collision_strategy: str | None = None
    work_pool: str | None = None
    work_queue: str | None = None
    job_variables: Mapping[str, Json] = field(default_factory=dict)
    schedules: tuple[Mapping[str, Json], ...] = ()
    timezone: str | None = None
    anchor_date: str | None = None
    triggers: tuple[Json, ...] = ()
    parameters: Mapping[str, Json] = field(default_factory=dict)
    sla: tuple[Json, ...] = ()
    enforce_parameter_schema: bool | None = None
    pull: tuple[Json, ...] = ()
    """Not a flag: the pull steps with which `deployctl dev` runs the code of this directory."""


def apply_overrides(raw: Mapping[str, Json], overrides: Overrides) -> dict[str, Json]:
    """The entry of `DeploymentSpec.raw` with the flags applied."""
    entry = dict(raw)
    for name in ("description", "version", "version_type", "enforce_parameter_schema"):
        if (value := getattr(overrides, name)) is not None:
            entry[name] = value
    for name in ("tags", "triggers", "sla", "pull"):
        if value := getattr(overrides, name):
            entry[name] = list(value)
    if overrides.parameters:
        entry["parameters"] = {**_mapping(entry, "parameters"), **overrides.parameters}
    _override_limit(entry, overrides)
    _override_pool(entry, overrides)
    _override_schedules(entry, overrides)
    return entry


def parse_assignments(flag: str, values: Sequence[str]) -> dict[str, Json]:
    """Merges `key=value` flags and JSON objects; values are JSON if they parse as JSON.

    Raises UsageError with the name of the flag.
    """
    result: dict[str, Json] = {}
    for text in values:
        if text.lstrip().startswith("{"):
            result |= parse_json_object(flag, text)
            continue
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            message = f"{flag} needs KEY=VALUE or a JSON object"
            raise UsageError(message, help=f"Write it as in {flag} retries=3.")
        try:
            result[key.strip()] = json.loads(value, parse_constant=_no_constant)
        except ValueError:
            result[key.strip()] = value
    return result


def assignment_texts(values: Sequence[str]) -> dict[str, str]:
    """The unparsed values of `key=value` flags."""
    pairs = (text.partition("=") for text in values if not text.lstrip().startswith("{"))
    return {key.strip(): value for key, _, value in pairs}


def parse_json_object(flag: str, text: str) -> dict[str, Json]:
    """Parses a flag that is a JSON object. Raises UsageError with the name of the flag."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        position = (
            f"at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise UsageError(f"{flag} is not JSON {position}".rstrip()) from error
    if not isinstance(value, dict):
        raise UsageError(
            f"{flag} needs a JSON object", help=f"Write it as in {flag} '{{\"key\": 1}}'."
        )
    return value


def parse_definitions(flag: str, values: Sequence[str], key: str) -> tuple[Json, ...]:
    """Parses `--trigger` and `--sla`: JSON objects, or files with a list under `key`.

    Raises UsageError with the name of the flag.
    """
    found: list[Json] = []
    for text in values:
        if text.endswith((".yaml", ".yml", ".json")):
            found += _in_file(flag, Path(text), key)
        else:
            found.append(parse_json_object(flag, text))
    return tuple(found)


def schedules(
    cron: Sequence[str], interval: Sequence[str | int | float], rrule: Sequence[str]
) -> tuple[Mapping[str, Json], ...]:
    """The schedules of the flags, in the form of the file."""
    flags = {"cron": cron, "interval": interval, "rrule": rrule}
    return tuple({kind: value} for kind, values in flags.items() for value in values)


def _override_limit(entry: dict[str, Json], overrides: Overrides) -> None:
    limit, strategy = overrides.concurrency_limit, overrides.collision_strategy
    if strategy is None:
        if limit is not None:
            entry["concurrency_limit"] = limit
        return
    current = entry.get("concurrency_limit")
    options = dict(current) if isinstance(current, dict) else {"limit": current}
    options |= {"collision_strategy": strategy}
    if limit is not None:
        options["limit"] = limit
    if options["limit"] is None:
        raise UsageError(
            f"--collision-strategy needs a concurrency limit in '{entry.get('name')}'",
            help="Add --concurrency-limit.",
        )
    entry["concurrency_limit"] = options


def _override_pool(entry: dict[str, Json], overrides: Overrides) -> None:
    pool = dict(_mapping(entry, "work_pool"))
    if overrides.work_pool is not None:
        pool["name"] = overrides.work_pool
    if overrides.work_queue is not None:
        pool["work_queue_name"] = overrides.work_queue
    if overrides.job_variables:
        pool["job_variables"] = {**_mapping(pool, "job_variables"), **overrides.job_variables}
    if pool:
        entry["work_pool"] = pool


def _override_schedules(entry: dict[str, Json], overrides: Overrides) -> None:
    zone, anchor = overrides.timezone, overrides.anchor_date
    if not (overrides.schedules or zone or anchor):
        return
    single = entry.pop("schedule", None)
    listed = entry.get("schedules")
    schedules = [single] if single else list(listed if isinstance(listed, list) else [])
    if overrides.schedules:
        schedules += [_with_times(item, zone, anchor) for item in overrides.schedules]
    else:
        schedules = [_with_times(item, zone, anchor) for item in schedules]
    if schedules:
        entry["schedules"] = schedules


def _with_times(schedule: Json, zone: str | None, anchor: str | None) -> Json:
    if not isinstance(schedule, Mapping):
        return schedule
    changed = dict(schedule)
    if zone:
        changed["timezone"] = zone
    if anchor and "interval" in changed:
        changed["anchor_date"] = anchor
    return changed


def _mapping(entry: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    value = entry.get(name)
    return value if isinstance(value, Mapping) else {}


def _in_file(flag: str, path: Path, key: str) -> list[Json]:
    report = Report()
    document = read_document(path, report)
    if document is None or report.errors:
        reason = report.items[0].message if report.items else "the file cannot be read"
        raise UsageError(f"{flag} {path}: {reason}")
    listed = document.data.get(key)
    if not isinstance(listed, list):
        raise UsageError(f"{flag} {path}: the file has no list '{key}'")
    return listed


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")
