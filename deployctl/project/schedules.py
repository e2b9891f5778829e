"""Validates schedules by the rules of Prefect's servers, without a server.

The rules are those of the server's schemas: croniter for cron expressions, without random and
hashed fields; IANA time zones; dateutil for recurrence rules (see `recurrence`). It is an error,
too, if the server accepts a schedule that never fires.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from deployctl.core.fix import Remove, SetText
from deployctl.core.json_values import Json, canonical_json
from deployctl.core.suggest import did_you_mean
from deployctl.project.coerce import is_unresolved
from deployctl.project.keys import SCHEDULE, TIMES
from deployctl.project.recurrence import recurrence_problem
from deployctl.project.resources import api_values
from deployctl.templating.problems import Problem
from deployctl.templating.values import contains_unknown

KINDS = ("cron", "interval", "rrule")
_ONLY_WITH = {"day_or": "cron", "anchor_date": "interval"}
"""Keys of the times that mean something beside one other key alone."""
_FIELD_MAXIMA = (59, 23, 31, 12, 7)
_CRON_FIELDS = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31, or L for the last"),
    ("month", "1 to 12, or jan to dec"),
    ("day of week", "0 to 7, or sun to sat"),
    ("second", "0 to 59"),
    ("year", "1970 to 2099"),
)
_CRON_ALIASES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_NO_ZONES = ("posix/", "right/", "Factory", "localtime", "posixrules")
"""Files of the time zone database that no server accepts as a zone."""


def normalize_schedules(items: Sequence[Json]) -> tuple[list[Json], list[Problem]]:
    """Schedules in the form of the API, from items that were read by `keys.SCHEDULE`.

    A schedule with errors is left out; problems have paths that begin with the index of the item.
    An item that is a template stays as it is.
    """
    given = [(index, item) for index, item in enumerate(items) if isinstance(item, dict)]
    found: list[Json] = [item for item in items if is_unresolved(item)]
    problems = list(_repeated(given))
    for index, item in given:
        schedule, wrong = _normalise(item)
        problems += [problem.below((index,)) for problem in wrong]
        if schedule is not None:
            found.append(schedule)
    return found, problems


def _normalise(item: Mapping[str, Json]) -> tuple[Json, list[Problem]]:
    given = [kind for kind in KINDS if item.get(kind) not in (None, "")]
    if len(given) != 1:
        has = " and ".join(given) if given else "none of cron, interval and rrule"
        help_ = "Give exactly one of cron, interval and rrule."
        return None, [Problem((), "DC200", f"this schedule has {has}", help_)]
    (kind,) = given
    schedule: dict[str, Json] = {kind: item[kind]}
    problems: list[Problem] = []
    if kind == "rrule":
        schedule = _unwrapped(item[kind])
    time_keys = [name for name, key in SCHEDULE.keys.items() if key.field is TIMES]
    for key in time_keys:
        if item.get(key) is None or key in KINDS:
            continue
        if _ONLY_WITH.get(key, kind) == kind:
            schedule[key] = item[key]
        else:
            message = f"'{key}' has no effect with '{kind}'"
            problems.append(Problem((key,), "DC211", message, "Remove it.", fix=Remove((key,))))
    problems += [
        problem
        for key, value in schedule.items()
        if key in _CHECKS and not is_unresolved(value)
        for problem in _CHECKS[key](value)
    ]
    if kind == "rrule" and not is_unresolved(schedule["rrule"]):
        problems += _rrule(schedule["rrule"], schedule.get("timezone"))
    others = {
        name: value
        for name, value in item.items()
        if name not in time_keys and value not in (None, "")
    }
    return {TIMES.name: schedule, **api_values(SCHEDULE, others)}, problems


def _unwrapped(rule: str) -> dict[str, Json]:
    """A rule may be a JSON object with the rule and its time zone."""
    try:
        parts = None if is_unresolved(rule) else json.loads(rule)
    except ValueError:
        return {"rrule": rule}
    return dict(parts) if isinstance(parts, dict) and "rrule" in parts else {"rrule": rule}


def _cron(line: str) -> Iterator[Problem]:
    problem = _cron_problem(line)
    if problem:
        yield Problem(("cron",), *problem)
        return
    fields = line.split()
    if len(fields) > 5:
        shown = "seconds in the sixth field" + (", years in the seventh" * (len(fields) > 6))
        yield Problem(
            ("cron",),
            "DC202",
            f"'{line}' has {len(fields)} fields: {shown}",
            "Standard cron has five fields; runs every few seconds are rarely intended.",
        )
    for field, most in zip(fields, _FIELD_MAXIMA, strict=False):
        if re.match(rf"{most}/\d", field):
            yield Problem(
                ("cron",),
                "DC202",
                f"'{field}' means '*/{field.partition('/')[2]}' to Prefect and '{most}' to others",
                "Write out the values.",
            )


@lru_cache(maxsize=1024)
def _cron_problem(line: str) -> tuple[str, str, str] | None:
    """Code, message and help of the problem of a cron expression, if it has one."""
    from croniter import croniter
    from croniter.croniter import CroniterBadDateError

    if any(re.match(r"[rh](\(|/|$)", field, re.IGNORECASE) for field in line.split()):
        return (
            "DC201",
            f"'{line}' has a random or hashed field",
            "Prefect does not support R and H.",
        )
    if not croniter.is_valid(line):
        return "DC201", f"invalid cron expression '{line}'", _cron_help(line)
    try:
        croniter(line, datetime(2024, 1, 1)).get_next(datetime)
    except CroniterBadDateError:
        return "DC203", f"the cron expression '{line}' never fires", "Correct day and month."
    return None


def _cron_help(line: str) -> str:
    """What is wrong with an invalid cron expression: the alias, the number of fields, or some."""
    from croniter import croniter

    if line.startswith("@"):
        return did_you_mean(line, _CRON_ALIASES) or f"The aliases are {', '.join(_CRON_ALIASES)}."
    fields = line.split()
    if not 5 <= len(fields) <= 7:
        names = ", ".join(name for name, _ in _CRON_FIELDS[:5])
        return f"It has five fields, not {len(fields)}: {names}."
    wrong = []
    for index, (field, (name, values)) in enumerate(zip(fields, _CRON_FIELDS, strict=False)):
        alone = ["*"] * len(fields)
        alone[index] = field
        if not croniter.is_valid(" ".join(alone)):
            wrong.append(f"The {name} cannot be '{field}'; it is {values}.")
    return " ".join(wrong) or "Correct its fields; each is valid, but not with the others."


def _timezone(name: str) -> Iterator[Problem]:
    if not _is_zone(name):
        from zoneinfo import available_timezones

        zones = available_timezones()
        guess = did_you_mean(name, zones)
        help_ = guess or "Name a zone of the IANA database, such as 'Asia/Taipei'."
        message, path = f"there is no time zone '{name}'", ("timezone",)
        same = [each for each in zones if each.casefold() == name.casefold()]
        fix = SetText(path, same[0]) if same else None
        yield Problem(path, "DC204", message, help_, fix=fix)


@lru_cache(maxsize=256)
def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if name.startswith(_NO_ZONES):
        return False
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _anchor(text: str) -> Iterator[Problem]:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        yield Problem(
            ("anchor_date",),
            "DC206",
            f"'{text}' is not a date and time",
            "Write it in ISO 8601, as in '2026-01-31T07:00:00+08:00'.",
        )


def _rrule(rule: str, zone: Json) -> Iterator[Problem]:
    known = zone if isinstance(zone, str) and _is_zone(zone) else "UTC"
    if (problem := recurrence_problem(rule, known)) is not None:
        yield Problem(("rrule",), *problem)


_CHECKS = {"cron": _cron, "timezone": _timezone, "anchor_date": _anchor}


def _repeated(items: Sequence[tuple[int, Mapping[str, Json]]]) -> Iterator[Problem]:
    """Slugs that two schedules share, and equal schedules without a slug."""
    slugs: dict[str, int] = {}
    contents: dict[str, int] = {}
    for index, item in items:
        slug = item.get("slug")
        if slug and not is_unresolved(slug):
            if slug in slugs:
                message = f"schedule {slugs[slug] + 1} has the slug '{slug}', too"
                help_ = "Give each schedule its own slug."
                yield Problem((index, "slug"), "DC208", message, help_)
            slugs.setdefault(slug, index)
        elif not slug and not contains_unknown(item):
            content = canonical_json(item)
            if content in contents:
                message = f"this schedule equals schedule {contents[content] + 1}"
                help_ = "Keep one: each starts its own runs."
                yield Problem((index,), "DC210", message, help_, fix=Remove((index,)))
            contents.setdefault(content, index)
