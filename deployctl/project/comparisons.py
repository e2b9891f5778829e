"""When a desired and a current value of a field mean the same.

The server stores defaults, ids and normal forms of its own, so equality alone would report a change
with every plan. The first argument is the desired value, the second what the server has.

Values that the server stores as they are (parameters, job variables, steps, templates) are the same
only if their types are, too: a flow may treat `1`, `1.0` and `true` differently. Numbers of typed
fields (durations, limits) are compared by value, because the server returns them in its own type.
`tests/unit/project/test_comparisons.py` has cases of both outcomes for every field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from deployctl.core.json_values import Json, same_json
from deployctl.templating.values import contains_unknown

Comparison: TypeAlias = Callable[[Json, Json], bool]
"""(desired, current) → whether they mean the same."""

DTSTART = re.compile(r"^DTSTART[^\n]*\n", re.IGNORECASE)


def equal(desired: Json, current: Json) -> bool:
    """Equality of JSON values, types included."""
    return same_json(desired, current)


def same_number(desired: Json, current: Json) -> bool:
    """Equality of numbers, whatever their types; of other values, equality of JSON."""
    if _is_number(desired) and _is_number(current):
        return bool(desired == current)
    return same_json(desired, current)


def same_numbers(desired: Json, current: Json) -> bool:
    """Equality of JSON whose numbers are compared by value: Prefect 3.9.1 stores 1.0 as 1."""
    if isinstance(desired, dict) and isinstance(current, dict):
        return desired.keys() == current.keys() and all(
            same_numbers(value, current[name]) for name, value in desired.items()
        )
    if isinstance(desired, list) and isinstance(current, list):
        return len(desired) == len(current) and all(map(same_numbers, desired, current))
    return same_number(desired, current)


def never_differs(_desired: Json, _current: Json) -> bool:
    """For fields that are sent but can't be compared or changed."""
    return True


def same_text(desired: Json, current: Json) -> bool:
    """Equality of texts; the server doesn't distinguish "" from null."""
    return (desired or None) == (current or None)


def same_description(desired: Json, current: Json) -> bool:
    """Equality of descriptions; `prefect deploy` stores the text "None" where there is none."""
    return same_text(desired, None if current == "None" else current)


def same_mapping(desired: Json, current: Json) -> bool:
    """Equality of mappings or steps, types of their values included; null is an empty one."""
    return same_json(desired or {}, current or {})


def same_set(desired: Json, current: Json) -> bool:
    """Equality of lists whose order means nothing; null is an empty one."""
    return sorted(desired or []) == sorted(current or [])


def same_options(desired: Json, current: Json) -> bool:
    """Equality of mappings in which null stands for an absent key."""
    return same_json(_without_nulls(desired), _without_nulls(current))


def same_trigger(desired: Json, current: Json) -> bool:
    """Whether a trigger is as desired; the server adds ids and the keys of newer versions.

    `desired` has every key of its table, defaults included. What a key holds is compared as a
    whole: a label that is no longer desired is a difference. Lists of texts have no order.
    """
    if not isinstance(current, Mapping):
        return False
    return all(
        _same_part(name, value, current[name]) if name in current else not value
        for name, value in desired.items()
    )


def _same_part(name: str, desired: Json, current: Json) -> bool:
    """Whether one key of a trigger is as desired."""
    if name in ("match", "match_related"):
        return same_json(_labels(desired), _labels(current))
    if isinstance(desired, Mapping):
        return same_trigger(desired, current)
    if isinstance(desired, list) and isinstance(current, list):
        if all(isinstance(each, str) for each in (*desired, *current)):
            return sorted(desired) == sorted(current)
        return len(desired) == len(current) and all(map(same_trigger, desired, current))
    return same_number(desired, current)


def _labels(value: Json) -> Json:
    """Labels as the server compares them with an event: values of a list in any order.

    Prefect 2 stores numbers as texts.
    """
    if isinstance(value, list):
        if all(isinstance(each, Mapping) for each in value):
            return [_labels(each) for each in value]
        return sorted(map(str, value))
    if isinstance(value, Mapping):
        return {name: _labels(each) for name, each in value.items()}
    return str(value)


def same_actions(desired: Json, current: Json) -> bool:
    """Whether an automation's actions are as desired, whichever deployment they run.

    What the server's answer lacks is unknown to it: `schedule_after` before 3.4.15.
    """
    return len(desired) == len(current or ()) and all(map(_same_action, desired, current))


def _same_action(desired: Json, current: Json) -> bool:
    return all(
        same_mapping(value, current[name])
        if name in ("parameters", "job_variables")
        else same_number(value, current[name])
        for name, value in desired.items()
        if name in current and name != "deployment_id"
    )


def same_schedule(desired: Json, current: Json) -> bool:
    """Whether two schedules fire at the same times, as far as the desired one says.

    The server stores no timezone as UTC, fills in `day_or`, gives an interval without anchor the
    time of its creation, and an RRULE without DTSTART one of its own.
    """
    if current is None or contains_unknown(desired):
        return False
    return _times(desired, desired) == _times(current, desired)


def _times(schedule: Json, desired: Json) -> dict[str, Json]:
    """The normal form of a schedule, without what `desired` leaves to the server."""
    given = _without_nulls(schedule)
    times: dict[str, Json] = {"timezone": given.get("timezone", "UTC")}
    if "cron" in given:
        times |= {"cron": " ".join(given["cron"].split()), "day_or": given.get("day_or", True)}
    if "interval" in given:
        seconds = given["interval"]
        times["interval"] = float(seconds) if isinstance(seconds, int | float) else seconds
        if desired.get("anchor_date"):
            times["anchor_date"] = _instant(given.get("anchor_date"))
    if "rrule" in given:
        rule = str(given["rrule"]).strip()
        anchored = DTSTART.match(str(desired.get("rrule", "")).strip())
        times["rrule"] = (rule if anchored else DTSTART.sub("", rule)).removeprefix("RRULE:")
    return times


def _instant(text: Json) -> Json:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return text
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _without_nulls(values: Json) -> dict[str, Json]:
    return {name: value for name, value in (values or {}).items() if value is not None}
