"""Parses durations in the forms that prefect.yaml accepts, to seconds."""

from __future__ import annotations

import re

from deployctl.core.json_values import Json

_ISO = re.compile(
    r"([-+]?)P(?!$)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+(?:\.\d+)?)D)?"
    r"(?:T(?!$)(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?",
    re.ASCII | re.IGNORECASE,
)
_ISO_SECONDS = (365 * 86400, 30 * 86400, 7 * 86400, 86400, 3600, 60, 1)
"""Seconds of a year, a month, … as Prefect's parser counts them."""
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_CLOCK = re.compile(
    r"([-+]?)(?=.)(?:(\d+) ?d(?:ays?)?)?(?:(?:,? ?)(\d+):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?)?",
    re.ASCII | re.IGNORECASE,
)


def parse_duration(value: Json) -> float | None:
    """The seconds of a number, its text, ISO 8601 (`PT1H30M`) or `[D days, ]HH:MM[:SS]`.

    None for anything else.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    text = value.strip()
    if found := _ISO.fullmatch(text):
        parts = zip(found.groups()[1:], _ISO_SECONDS, strict=True)
        total = sum(float(number) * unit for number, unit in parts if number)
        return -total if found[1] == "-" else total
    if found := _CLOCK.fullmatch(text):
        days, hours, minutes, rest = (float(part or 0) for part in found.groups()[1:])
        total = days * 86400 + hours * 3600 + minutes * 60 + rest
        return -total if found[1] == "-" else total
    return float(text) if _NUMBER.fullmatch(text) else None
