"""Delays and times on the command line: `1h`, `10 minutes`, `tomorrow 8am`."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

from deployctl.project.durations import parse_duration

_UNITS = {
    "seconds": ("s", "sec", "secs", "second"),
    "minutes": ("m", "min", "mins", "minute"),
    "hours": ("h", "hr", "hrs", "hour"),
    "days": ("d", "day"),
    "weeks": ("w", "week"),
}
_UNIT = {name: unit for unit, names in _UNITS.items() for name in (unit, *names)}
_PART = r"(\d+(?:\.\d+)?) ?([a-z]+)"
_PARTS = re.compile(rf"(?:in )?{_PART}(?:(?:,? (?:and )?|, ?)?{_PART})*")
_CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?(?::(\d\d))? ?(am|pm)?")
_DAYS = {"today": 0, "tomorrow": 1}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def parse_delay(text: str) -> float | None:
    """The seconds of `90`, `1h`, `1h30m`, `10 minutes`, `PT1H` or `HH:MM`; None if invalid."""
    plain = " ".join(text.lower().split())
    if not _PARTS.fullmatch(plain):
        return parse_duration(text)
    total = timedelta()
    for number, unit in re.findall(_PART, plain):
        if unit not in _UNIT:
            return None
        total += timedelta(**{_UNIT[unit]: float(number)})
    return total.total_seconds()


def parse_moment(text: str, now: datetime) -> datetime | None:
    """The moment of an ISO 8601 time, `now`, `tomorrow [8am]`, `monday 08:00`, `18:30` or `in 2 h`.

    A text without offset means the zone of `now`, or this machine's if `now` has none. A day
    without a time keeps the time of `now`, as in Prefect; a time without a day is the next such
    time. None if the text is invalid.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return _parse_words(" ".join(text.lower().replace(" at ", " ").split()), now)
    return moment if moment.tzinfo else _localized(moment, now)


def _parse_words(text: str, now: datetime) -> datetime | None:
    if text == "now" or text.startswith("in "):
        delay = 0.0 if text == "now" else parse_delay(text)
        zoned = now if now.tzinfo else now.astimezone()
        return None if delay is None else zoned + timedelta(seconds=delay)
    word, _, rest = text.removeprefix("next ").partition(" ")
    days = _days_until(word, now)
    if days is None:
        clock = _parse_clock(text.removeprefix("at "))
        return None if clock is None else _next(clock, now)
    clock = _parse_clock(rest) if rest else now.time()
    if clock is None:
        return None
    return _localized(datetime.combine(now.date() + timedelta(days=days), clock), now)


def _days_until(word: str, now: datetime) -> int | None:
    """Days until a named day; the weekday of today is the one in a week."""
    if word in _WEEKDAYS:
        return (_WEEKDAYS.index(word) - now.weekday() - 1) % 7 + 1
    return _DAYS.get(word)


def _parse_clock(text: str) -> time | None:
    """The time of day of `8am`, `8:30 pm`, `18:30`; a bare number is none."""
    if text in ("noon", "midnight"):
        return time(12 if text == "noon" else 0)
    found = _CLOCK.fullmatch(text)
    if found is None or not (found[2] or found[4]):
        return None
    hour, minute, second = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    if found[4]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (found[4] == "pm")
    return time(hour, minute, second) if hour < 24 and minute < 60 and second < 60 else None


def _next(clock: time, now: datetime) -> datetime:
    days = timedelta(days=clock <= now.time())
    return _localized(datetime.combine(now.date() + days, clock), now)


def _localized(moment: datetime, now: datetime) -> datetime:
    """A time without offset in the zone of `now`, or of this machine if `now` has none."""
    return moment.replace(tzinfo=now.tzinfo) if now.tzinfo else moment.astimezone()
