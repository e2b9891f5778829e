"""Recurrence rules are asked for their next date as the server does.

`tests/integration/test_recurrence_parity.py` asks real servers about the same rules.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deployctl.project.recurrence import recurrence_problem
from tests.support.recurrence_cases import FIRES, NEVER_FIRES, Case

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize("case", FIRES)
def test_rule_that_fires_is_accepted(case: Case) -> None:
    assert recurrence_problem(*case, NOW) is None


@pytest.mark.parametrize("case", NEVER_FIRES)
def test_rule_that_never_fires_is_reported(case: Case) -> None:
    problem = recurrence_problem(*case, NOW)
    assert problem is not None
    assert problem[0] == "DC212"


@pytest.mark.parametrize(
    ("rule", "help_"),
    [
        (
            "FREQ=DAILY;COUNT=5",
            "COUNT is counted from 2020-01-01, because it has no DTSTART. Start later, as in "
            "'DTSTART:20261129T000000\\nRRULE:FREQ=…'.",
        ),
        ("FREQ=DAILY;UNTIL=20240101", "Correct UNTIL, or remove the schedule."),
        (
            "FREQ=DAILY;UNTIL=20990101T000000Z",
            "Write UNTIL without 'Z'; it is a time of the schedule's zone.",
        ),
        ("RDATE:20240101T000000", "Correct the rule, or remove the schedule."),
    ],
)
def test_help_says_what_is_wrong(rule: str, help_: str) -> None:
    problem = recurrence_problem(rule, "UTC", NOW)
    assert problem is not None
    assert problem[2] == help_


@pytest.mark.parametrize(
    ("zone", "fires"), [("America/Chicago", True), ("UTC", True), ("Asia/Taipei", False)]
)
def test_until_is_a_time_of_the_zone(zone: str, fires: bool) -> None:
    """At noon UTC it is 20:00 in Taipei."""
    rule = "FREQ=HOURLY;UNTIL=20261129T190000"
    assert (recurrence_problem(rule, zone, NOW) is None) is fires


@pytest.mark.timeout(60)  # against a search for dates till year 9999
@pytest.mark.parametrize("frequency", ["SECONDLY", "MINUTELY", "HOURLY", "DAILY"])
@pytest.mark.parametrize("rest", ["", ";BYMONTH=2;BYMONTHDAY=30", ";COUNT=5000000"])
def test_frequent_rules_are_decided_too(frequency: str, rest: str) -> None:
    problem = recurrence_problem(f"FREQ={frequency}{rest}", "UTC", NOW)
    assert (problem is not None) is ("BYMONTHDAY=30" in rest)
