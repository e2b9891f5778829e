"""When a desired and a current value of a field mean the same.

The server stores defaults, ids and normal forms of its own, so equality alone would report a change
with every plan. The first argument is the desired value, the second what the server has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from deployctl.core.json_values import Json
from deployctl.templating.values import contains_unknown

Comparison: TypeAlias = Callable[[Json, Json], bool]
"""(desired, current) → whether they mean the same."""

DTSTART = re.compile(r"^DTSTART[^\n]*\n", re.IGNORECASE)


def equal(desired: Json, current: Json) -> bool:
    """Plain equality."""
    return bool(desired == current)


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
    """Equality of mappings; null is an empty one."""
    return (desired or {}) == (current or {})


def same_set(desired: Json, current: Json) -> bool:
    """Equality of lists whose order means nothing; null is an empty one."""
    return sorted(desired or []) == sorted(current or [])


def same_options(desired: Json, current: Json) -> bool:
    """Equality of mappings in which null stands for an absent key."""
    return _without_nulls(desired) == _without_nulls(current)


def includes(desired: Json, current: Json) -> bool:
    """Whether `current` has everything of `desired`; the server adds defaults and ids of its own.

    Lists of texts are compared without their order.
    """
    if isinstance(desired, Mapping):
        return isinstance(current, Mapping) and all(
            includes(value, current.get(name)) or (not value and name not in current)
            for name, value in desired.items()
        )
    if isinstance(desired, list) and isinstance(current, list):
        if all(isinstance(value, str) for value in desired):
            return sorted(desired) == sorted(current)
        return len(desired) == len(current) and all(map(includes, desired, current))
    return bool(desired == current)


def same_actions(desired: Json, current: Json) -> bool:
    """Whether an automation's actions are as desired, whichever deployment they run."""
    return includes(
        [{k: v for k, v in action.items() if k != "deployment_id"} for action in desired], current
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


def _without_nulls(values: Json) -> dict[str, Json]:
    return {name: value for name, value in (values or {}).items() if value is not None}
