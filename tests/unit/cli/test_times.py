"""Delays and times of `deployctl run`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from deployctl.cli.times import parse_delay, parse_moment

NOW = datetime(2030, 1, 30, 12, 34, 56, tzinfo=UTC)
"""A Wednesday."""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1h", 3600),
        ("1h30m", 5400),
        ("10 minutes", 600),
        ("10min", 600),
        ("1.5 hours", 5400),
        ("2 days and 3 hours", 2 * 86400 + 3 * 3600),
        ("1 hour, 5 minutes", 3900),
        ("in 2 weeks", 14 * 86400),
        ("PT1H30M", 5400),
        ("01:30", 5400),
        ("1 day, 02:00", 86400 + 7200),
        ("soon", None),
        ("10 parsecs", None),
        ("1h 30", None),
        ("", None),
    ],
)
def test_delays(text: str, seconds: float | None) -> None:
    assert parse_delay(text) == seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-02-01T08:00", "2030-02-01T08:00+00:00"),
        ("2030-02-01T08:00+02:00", "2030-02-01T08:00+02:00"),
        ("2030-02-01", "2030-02-01T00:00+00:00"),
        ("now", "2030-01-30T12:34:56+00:00"),
        ("tomorrow", "2030-01-31T12:34:56+00:00"),
        ("Tomorrow at 8am", "2030-01-31T08:00+00:00"),
        ("tomorrow 12 am", "2030-01-31T00:00+00:00"),
        ("tomorrow 12:30pm", "2030-01-31T12:30+00:00"),
        ("today 18:00", "2030-01-30T18:00+00:00"),
        ("tomorrow noon", "2030-01-31T12:00+00:00"),
        ("monday 08:00", "2030-02-04T08:00+00:00"),
        ("next wednesday 9:15", "2030-02-06T09:15+00:00"),
        ("18:30", "2030-01-30T18:30+00:00"),
        ("at 6:30", "2030-01-31T06:30+00:00"),
        ("in 2 hours", "2030-01-30T14:34:56+00:00"),
        ("tomorrow 25:00", None),
        ("tomorrow 13pm", None),
        ("tomorrow 8", None),
        ("yesterday", None),
        ("8", None),
        ("", None),
    ],
)
def test_moments(text: str, expected: str | None) -> None:
    moment = parse_moment(text, NOW)
    assert moment == (expected and datetime.fromisoformat(expected))


def test_a_day_has_the_offset_of_its_own_date() -> None:
    before_summer_time = datetime(2030, 3, 30, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    moment = parse_moment("monday 08:00", before_summer_time)
    assert moment is not None
    assert moment.utcoffset() == timedelta(hours=2)


def test_times_without_a_zone_are_those_of_this_machine() -> None:
    for text in ("tomorrow 8am", "18:30", "now", "2030-01-01"):
        moment = parse_moment(text, NOW.replace(tzinfo=None))
        assert moment is not None
        assert isinstance(moment.tzinfo, timezone)
