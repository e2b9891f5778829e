"""The alert rules of the chart fire when they should and not otherwise, by promtool.

Each case has series that are bad and series that are good; the alert must fire for the bad ones
only, and not before its `for` has passed.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.support.cluster.tools import CACHE
from tests.support.debian import find_program
from tests.unit.worker.health.test_monitoring import RULES, alerts, queries

END = 120
"""Minutes of each series."""


class Case(NamedTuple):
    """An alert and its series. Values are those of promtool: `1x9`: constant, `0+6x9`: growing by
    6 each minute."""

    alert: str
    bad: dict[str, str]
    good: dict[str, str]
    label: str = "pool"
    """Distinguishes both: its value is `bad` or `good`."""


def constant(**values: int) -> dict[str, str]:
    return {f"deployctl_worker_{name}": f"{value}x{END}" for name, value in values.items()}


def delays(name: str, limit: str, more: str, *, within: int) -> dict[str, str]:
    """A histogram that grows by 100 each minute, of which `within` are up to the limit."""
    grown = {limit: within, more: 100, "+Inf": 100}
    metric = f"deployctl_worker_{name}_delay_seconds_bucket"
    return {f'{metric}{{le="{le}"}}': f"0+{n}x{END}" for le, n in grown.items()}


def replicas(metric: str, *values: int) -> dict[str, str]:
    return {
        f'deployctl_worker_{metric}{{instance="{number}",location="flows"}}': f"{value}x{END}"
        for number, value in enumerate(values)
    }


def ends(**per_minute: int) -> dict[str, str]:
    return {
        f'deployctl_worker_runs_total{{event="{event}"}}': f"0+{n}x{END}"
        for event, n in per_minute.items()
    }


def errors(kind: str, per_minute: int) -> dict[str, str]:
    metric = f'deployctl_worker_request_errors_total{{kind="{kind}"}}'
    return {metric: f"0+{per_minute}x{END}"}


CASES = [
    Case("DeployctlWorkerNotLive", constant(up=0), constant(up=1)),
    Case("DeployctlWorkerNotReady", constant(ready=0), constant(ready=1)),
    Case("DeployctlNoLeader", replicas("leader", 0, 0), replicas("leader", 0, 1)),
    Case(
        "DeployctlWatchSilent",
        replicas("watch_age_seconds", 400, 500),
        replicas("watch_age_seconds", 400, 5),
    ),
    Case(
        "DeployctlRunsNotClaimed",
        constant(due_runs=3, runs_waiting_for_slot=0),
        constant(due_runs=3, runs_waiting_for_slot=3),
    ),
    Case(
        "DeployctlRunsClaimedLate",
        delays("claim", "30", "60", within=90),
        delays("claim", "30", "60", within=96),
    ),
    Case(
        "DeployctlJobsCreatedLate",
        delays("job_creation", "10", "20", within=90),
        delays("job_creation", "10", "20", within=96),
    ),
    Case(
        "DeployctlJobsStartLate",
        delays("job_start", "300", "600", within=90),
        delays("job_start", "300", "600", within=96),
    ),
    Case(
        "DeployctlRunsWaitForSlot",
        constant(runs_waiting_for_slot=1),
        constant(runs_waiting_for_slot=0),
    ),
    Case("DeployctlRunsCrash", ends(crashed=2, completed=8), ends(crashed=1, failed=99)),
    Case("DeployctlAccessDenied", errors("forbidden", 1), errors("overloaded", 1), "target"),
    Case("DeployctlRequestErrors", errors("unreachable", 60), errors("unreachable", 6), "target"),
    Case(
        "DeployctlInternalErrors",
        {"deployctl_worker_internal_errors_total": f"0+1x{END}"},
        {"deployctl_worker_internal_errors_total": f"3x{END}"},
        "instance",
    ),
]


def with_label(series: str, label: str) -> str:
    name, _, more = series.partition("{")
    return f"{name}{{{label},{more}" if more else f"{name}{{{label}}}"


def minutes(duration: str) -> int:
    return int(duration[:-1]) * {"m": 1, "h": 60}[duration[-1]]


def rule_test(case: Case, wait: int) -> object:
    """A test of promtool; `wait`: minutes for which the alert must be true until it fires."""
    series = [
        {"series": with_label(name, f'{case.label}="{quality}"'), "values": values}
        for quality, all_series in (("bad", case.bad), ("good", case.good))
        for name, values in all_series.items()
    ]
    query = f'count by ({case.label}) (ALERTS{{alertname="{case.alert}",alertstate="firing"}})'
    fires = [{"labels": f'{{{case.label}="bad"}}', "value": 1}]
    checks = [(f"{END}m", fires), *([(f"{wait - 1}m", [])] if wait else [])]
    return {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [
            {"expr": query, "eval_time": at, "exp_samples": samples} for at, samples in checks
        ],
    }


@pytest.fixture(scope="module")
def promtool() -> str:
    path = os.pathsep.join([str(CACHE), os.environ["PATH"]])
    program = find_program("promtool", "prometheus", path)
    if program is None:
        pytest.skip("promtool needs the Debian package prometheus")
    return program


def test_each_alert_fires_for_what_is_bad_alone(promtool: str, tmp_path: Path) -> None:
    waits = {rule["alert"]: minutes(rule.get("for", "0m")) for rule in alerts()}
    assert [case.alert for case in CASES] == list(waits)
    tests = tmp_path / "tests.yaml"
    tests.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(RULES)],
                "evaluation_interval": "1m",
                "tests": [rule_test(case, waits[case.alert]) for case in CASES],
            }
        )
    )
    run(promtool, "test", "rules", str(tests))


def test_promtool_accepts_the_rules_and_the_queries_of_the_dashboard(
    promtool: str, tmp_path: Path
) -> None:
    rules = [
        {"record": "job:query", "expr": each.replace("$__rate_interval", "5m")}
        for each in queries()
        if not each.startswith("label_values(")
    ]
    panels = tmp_path / "queries.yaml"
    panels.write_text(
        yaml.safe_dump({"groups": [{"name": f"g{i}", "rules": [r]} for i, r in enumerate(rules)]})
    )
    run(promtool, "check", "rules", "--lint=none", str(RULES), str(panels))


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
