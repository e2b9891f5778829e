"""Schedules as the API takes them, and what servers refuse."""

from __future__ import annotations

import pytest

from deployctl.core.diagnostics import Severity
from deployctl.core.json_values import Json
from deployctl.project.durations import parse_duration
from deployctl.project.normalize import normalize
from tests.unit.project.reading import deployment, only


def schedules_of(text: str) -> Json:
    found, report = deployment(f"schedules: {text}")
    assert not report.errors, report.items
    return normalize(found.deployments[0].raw)[0]["schedules"]


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        (
            "{cron: '0 7 * * *', timezone: Asia/Taipei, day_or: 'no'}",
            {"cron": "0 7 * * *", "timezone": "Asia/Taipei", "day_or": False},
        ),
        ("{interval: 3600}", {"interval": 3600.0}),
        ("{interval: PT1H}", {"interval": 3600.0}),
        ("{interval: 01:30:00}", {"interval": 5400.0}),
        ("{interval: 1:30:00}", {"interval": 5400.0}),
        (
            "{interval: 60, anchor_date: 2026-01-31T07:00:00+08:00}",
            {"interval": 60.0, "anchor_date": "2026-01-31T07:00:00+08:00"},
        ),
        ("{rrule: FREQ=DAILY, timezone: UTC}", {"rrule": "FREQ=DAILY", "timezone": "UTC"}),
        (
            """{rrule: '{"rrule": "FREQ=DAILY", "timezone": "Asia/Tokyo"}'}""",
            {"rrule": "FREQ=DAILY", "timezone": "Asia/Tokyo"},
        ),
        (
            """{rrule: '{"rrule": "FREQ=DAILY", "timezone": "Asia/Tokyo"}', timezone: UTC}""",
            {"rrule": "FREQ=DAILY", "timezone": "UTC"},
        ),
        ("{cron: '{{ prefect.variables.c }}'}", {"cron": "{{ prefect.variables.c }}"}),
    ],
)
def test_converts_a_schedule(text: str, schedule: Json) -> None:
    assert schedules_of(f"[{text}]") == [{"schedule": schedule}]


def test_optional_fields_of_a_schedule_are_sent_if_given() -> None:
    text = "[{cron: '@daily', active: 'yes', parameters: {a: 1}, slug: s, replaces: r}]"
    assert schedules_of(text) == [
        {
            "schedule": {"cron": "@daily"},
            "active": True,
            "parameters": {"a": 1},
            "slug": "s",
            "replaces": "r",
        }
    ]


def test_keeps_a_saved_key_that_the_server_supports() -> None:
    found = schedules_of("[{cron: '@daily', max_scheduled_runs: 3}]")
    assert found == [{"schedule": {"cron": "@daily"}, "max_scheduled_runs": 3}]


CRON = [
    ("* * * * *", None),
    ("@hourly", None),
    ("0 0 L * *", None),
    ("0 0 * * 5#2", None),
    ("0 0 29 2 *", None),
    ("0 0 ? * mon-fri", None),
    ("*/90 * * * *", None),
    ("H * * * *", "DC201"),
    ("R * * * *", "DC201"),
    ("H/5 * * * *", "DC201"),
    ("H(0-5) * * * *", "DC201"),
    ("0 24 * * *", "DC201"),
    ("* * * *", "DC201"),
    ("@reboot", "DC201"),
    ("nonsense", "DC201"),
    ("0 0 31 2 *", "DC203"),
    ("0 0 31 4,6 *", "DC203"),
    ("*/5 * * * * *", "DC202"),
    ("0 0 * * * 0 2030", "DC202"),
    ("59/15 * * * *", "DC202"),
    ("0 23/2 * * *", "DC202"),
]


@pytest.mark.parametrize(("line", "code"), CRON)
def test_checks_cron_expressions(line: str, code: str | None) -> None:
    _, report = deployment(f"schedules: [{{cron: '{line}'}}]")
    assert [item.code for item in report] == ([code] if code else [])
    if code:
        warning = code == "DC202"
        assert only(report).severity is (Severity.WARNING if warning else Severity.ERROR)


@pytest.mark.parametrize(
    ("line", "help_"),
    [
        ("61 * * * *", "The minute cannot be '61'; it is 0 to 59."),
        (
            "0 24 * JAM *",
            "The hour cannot be '24'; it is 0 to 23. "
            "The month cannot be 'JAM'; it is 1 to 12, or jan to dec.",
        ),
        ("0 0 * * 7#6", "The day of week cannot be '7#6'; it is 0 to 7, or sun to sat."),
        (
            "0 0 * *",
            "It has five fields, not 4: minute, hour, day of month, month, day of week.",
        ),
        ("@dayly", "Did you mean '@daily'?"),
        (
            "@reboot",
            "The aliases are @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually.",
        ),
    ],
)
def test_help_names_the_wrong_field_of_a_cron_expression(line: str, help_: str) -> None:
    _, report = deployment(f"schedules: [{{cron: '{line}'}}]")
    assert only(report).help == help_


@pytest.mark.parametrize(
    ("zone", "help_"),
    [
        ("asia/taipei", "Did you mean 'Asia/Taipei'?"),
        ("Asia/Tapei", "Did you mean 'Asia/Taipei'?"),
        ("+08:00", "IANA"),
        ("posix/UTC", ""),
        ("Factory", ""),
        ("localtime", ""),
        ("../etc/passwd", ""),
    ],
)
def test_rejects_unknown_time_zones(zone: str, help_: str) -> None:
    _, report = deployment(f"schedules: [{{cron: '@daily', timezone: '{zone}'}}]")
    found = only(report)
    assert found.code == "DC204"
    assert help_ in (found.help or "")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{timezone: UTC}", "DC200"),
        ("{}", "DC200"),
        ("{cron: null}", "DC200"),
        ("{crn: '@daily'}", "DC120"),
        ("{cron: '@daily', interval: 60}", "DC200"),
        ("{interval: 0}", "DC124"),
        ("{interval: -5}", "DC124"),
        ("{interval: soon}", "DC128"),
        ("{interval: 60, anchor_date: yesterday}", "DC206"),
        ("{rrule: FREQ=NOPE}", "DC207"),
        ("{rrule: daily}", "DC207"),
        ("{rrule: FREQ=DAILY;INTERVAL=0}", "DC207"),
        ("{rrule: FREQ=DAILY;COUNT=3}", "DC212"),
        ("{rrule: FREQ=DAILY;UNTIL=20990101T000000Z, timezone: Asia/Taipei}", "DC212"),
        (
            """{rrule: '{"rrule": "FREQ=DAILY;COUNT=1", "timezone": "Asia/Tokyo"}'}""",
            "DC212",
        ),
        ("{rrule: 'RDATE:" + "20300101T000000Z," * 400 + "20300101T000000Z'}", "DC207"),
        ("{interval: 60, day_or: true}", "DC211"),
        ("{cron: '@daily', anchor_date: 2026-01-01}", "DC211"),
        ("{cron: '@daily'}, {cron: '@daily'}", "DC210"),
        ("{cron: '@daily', slug: a}, {cron: '@hourly', slug: a}", "DC208"),
    ],
)
def test_reports_problems_of_a_schedule(text: str, code: str) -> None:
    _, report = deployment(f"schedules: [{text}]")
    assert only(report).code == code


@pytest.mark.parametrize(
    "text",
    [
        '{rrule: "DTSTART:20980101T000000\\nRRULE:FREQ=DAILY;COUNT=3"}',
        "{rrule: FREQ=DAILY;INTERVAL=10}",
        "{rrule: 'FREQ=DAILY;UNTIL=20990101T000000', timezone: Asia/Taipei}",
        '{rrule: "DTSTART:20240101T000000\\nRRULE:FREQ=DAILY"}',
        "{cron: '@daily', slug: a}, {cron: '@daily', slug: b}",
        "{cron: '@daily'}, {cron: '@daily', parameters: {a: 1}}",
        "{cron: '@daily', slug: '{{ prefect.variables.s }}'}",
    ],
)
def test_accepts_valid_schedules(text: str) -> None:
    assert not deployment(f"schedules: [{text}]")[1].items


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5.0),
        (0.5, 0.5),
        ("5", 5.0),
        ("-1.5", -1.5),
        ("PT1H30M", 5400.0),
        ("P1D", 86400.0),
        ("P1W", 604800.0),
        ("P1DT0.5S", 86400.5),
        ("-PT1M", -60.0),
        ("00:01:00", 60.0),
        ("01:30", 5400.0),
        ("1 day, 01:00:00", 90000.0),
        ("2d 00:00:01", 172801.0),
        ("1d", 86400.0),
        ("2 days", 172800.0),
        ("P", None),
        ("-", None),
        ("PT", None),
        ("", None),
        ("1:99", None),
        ("nan", None),
        ("1e", None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_parses_durations(value: Json, expected: float | None) -> None:
    assert parse_duration(value) == expected
