"""Real servers make runs of the recurrence rules that deployctl accepts, and none of the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import needs
from tests.support.environment import isolated
from tests.support.prefect_cli import run_program
from tests.support.recurrence_cases import FIRES, NEVER_FIRES
from tests.support.servers import PREFECT_2, PREFECT_3, interpreter

_NEXT_DATES = """
import asyncio, json, sys
from prefect.server.schemas.schedules import RRuleSchedule
try:
    from prefect._internal.schemas.validators import normalize_rrule_string as anchored
except ImportError:
    anchored = lambda rule, timezone: rule
fires = []
for rule, zone in json.loads(sys.argv[1]):
    schedule = RRuleSchedule(rrule=anchored(rule, timezone=zone), timezone=zone)
    try:
        fires.append(bool(asyncio.run(schedule.get_dates(1))))
    except ValueError:
        fires.append(False)
print(json.dumps(fires))
"""
_SECONDLY = {"FREQ=SECONDLY", "FREQ=SECONDLY;UNTIL=20240101T000000"}
_TOO_SLOW = {PREFECT_3: _SECONDLY, PREFECT_2: _SECONDLY | {"FREQ=MINUTELY;UNTIL=20990101T000000"}}
"""Rules for which a server counts every second or minute since 2020."""


@pytest.mark.parametrize("version", [PREFECT_3, PREFECT_2])
def test_server_makes_the_same_runs(version: str, tmp_path: Path) -> None:
    needs(version)
    cases = [case for case in (*FIRES, *NEVER_FIRES) if case[0] not in _TOO_SLOW[version]]
    command = [str(interpreter(version)), "-c", _NEXT_DATES, json.dumps(cases)]
    result = run_program(command, cwd=tmp_path, env=isolated(tmp_path))
    assert result.code == 0, result.stderr
    fires = dict(zip(cases, json.loads(result.stdout), strict=True))
    assert fires == {case: case in FIRES for case in cases}
