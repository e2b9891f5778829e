"""Checks recurrence rules as Prefect's servers read them (`RRuleSchedule` of 2.20 and 3.x).

A rule without DTSTART is counted from 2020-01-01 00:00. The times of DTSTART, UNTIL, RDATE and
EXDATE are taken as local times of the schedule's zone, whatever zone they are written in. So a rule
can be valid and still never make a run; that is an error here, because nothing else would tell.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

Finding: TypeAlias = tuple[str, str, str]
"""Code, message and help."""

MAX_RRULE = 6500
_ANCHOR = datetime(2020, 1, 1)
"""From where the servers count a rule without DTSTART."""
_MAX_OCCURRENCES = 200_000
"""After so many past runs a rule is taken for one that goes on."""
_FORM = "Write it as in 'FREQ=WEEKLY;BYDAY=MO;BYHOUR=7;BYMINUTE=0;BYSECOND=0'."


def recurrence_problem(rule: str, zone: str, now: datetime | None = None) -> Finding | None:
    """The problem of a rule in a time zone, if it has one; `now` has a zone of its own.

    DC207: the server refuses the rule. DC212: it accepts it, and makes no run.
    """
    local = (now or datetime.now(UTC)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return _problem(rule, local.replace(second=0, microsecond=0))


@lru_cache(maxsize=1024)
def _problem(rule: str, now: datetime) -> Finding | None:
    from dateutil.rrule import rrulestr

    if len(rule) > MAX_RRULE:
        return "DC207", f"the rule has {len(rule)} characters; Prefect accepts {MAX_RRULE}", _FORM
    if re.search(r"INTERVAL=0+(?!\d)", rule, re.IGNORECASE):
        return "DC207", "the rule has an interval of 0 and never advances", _FORM
    try:
        rrulestr(rule)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        return "DC207", f"invalid recurrence rule: {error}", _FORM
    try:
        parsed = rrulestr(rule, dtstart=_ANCHOR)
    except ValueError:
        message = (
            "the server cannot evaluate UNTIL with a 'Z' and without DTSTART, so it never fires"
        )
        return "DC212", message, "Write UNTIL without 'Z'; it is a time of the schedule's zone."
    if _fires(parsed, now):
        return None
    return "DC212", "this recurrence rule never fires again", _help(rule, now)


def _help(rule: str, now: datetime) -> str:
    anchored = re.search("DTSTART", rule, re.IGNORECASE)
    if re.search("COUNT=", rule, re.IGNORECASE):
        start = f"DTSTART:{now:%Y%m%d}T000000"
        since = "its DTSTART" if anchored else "2020-01-01, because it has no DTSTART"
        return f"COUNT is counted from {since}. Start later, as in '{start}\\nRRULE:FREQ=…'."
    if re.search("UNTIL=", rule, re.IGNORECASE):
        return "Correct UNTIL, or remove the schedule."
    return "Correct the rule, or remove the schedule."


def _fires(parsed: Any, now: datetime) -> bool:
    """Whether a parsed rule, or set of rules and dates, has a date from `now` on."""
    from dateutil.rrule import rrule

    if isinstance(parsed, rrule):
        return _has_days(parsed, now) and _has_next(_local(parsed, now), now)
    parsed._rrule = [_local(each, now) for each in parsed._rrule if _has_days(each, now)]
    parsed._exrule = [_local(each, now) for each in parsed._exrule if _has_days(each, now)]
    parsed._rdate = [each.replace(tzinfo=None) for each in parsed._rdate]
    parsed._exdate = [each.replace(tzinfo=None) for each in parsed._exdate]
    return _has_next(parsed, now)


def _has_next(dates: Any, now: datetime) -> bool:
    past = 0
    for moment in islice(dates, _MAX_OCCURRENCES):
        if moment >= now:
            return True
        past += 1
    return past == _MAX_OCCURRENCES


def _has_days(rule: Any, now: datetime) -> bool:
    """Whether any day passes the rule's filters: February 30 would be looked for till year 9999.

    Year by year, which is quick, unless the filters mean something else then.
    """
    from dateutil.rrule import MONTHLY, YEARLY

    start = datetime(now.year, 1, 1)
    days = rule.replace(
        freq=MONTHLY if rule._freq == MONTHLY else YEARLY,
        interval=1,
        count=None,
        bysetpos=None,
        dtstart=start,
        until=None,
    )
    return next(iter(days), None) is not None


def _local(rule: Any, now: datetime) -> Any:
    """The rule in local times, which starts shortly before `now` if it has no COUNT.

    The start is moved by whole intervals, so the rule has the same dates from there on.
    """
    start = rule._dtstart.replace(tzinfo=None)
    until = rule._until and rule._until.replace(tzinfo=None)
    unit = _UNITS.get(_FREQUENCIES[rule._freq])
    if unit and rule._count is None and start < now:
        period = unit * rule._interval
        start += (now - start) // period * period
    return rule.replace(dtstart=start, until=until)


_FREQUENCIES = ("yearly", "monthly", "weekly", "daily", "hourly", "minutely", "secondly")
"""In the order of dateutil's numbers."""
_UNITS = {
    "weekly": timedelta(weeks=1),
    "daily": timedelta(days=1),
    "hourly": timedelta(hours=1),
    "minutely": timedelta(minutes=1),
    "secondly": timedelta(seconds=1),
}
