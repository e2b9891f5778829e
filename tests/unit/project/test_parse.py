"""Parsing of whole files: diagnostics of entries, and the fields that they become."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployctl.core.diagnostics import Severity
from deployctl.core.json_values import Json
from deployctl.project.document import parse_document
from deployctl.project.normalize import normalize
from deployctl.project.parse import check_same_names, parse_project
from deployctl.templating.problems import Problem
from deployctl.templating.values import Unknown
from tests.unit.project.reading import codes, deployment, only, project

E, W = Severity.ERROR, Severity.WARNING

FINDINGS = [
    ("entry_point: a.py:g", "DC120", W, "Did you mean 'entrypoint'?"),
    ("job_variables: {}", "DC121", W, "under 'work_pool'"),
    ("work_queue_name: q", "DC121", W, "under 'work_pool'"),
    ("infra_overrides: {}", "DC121", W, "'job_variables' under 'work_pool'"),
    ("is_paused: true", "DC121", W, "Write 'paused'"),
    ("is_schedule_active: true", "DC121", W, "'active' in the schedule"),
    ("timezone: UTC", "DC121", W, "in the schedule"),
    ("cron: '@daily'", "DC121", W, "under 'schedules'"),
    ("slug: x", "DC120", W, "in a schedule"),
    ("deployments: []", "DC120", W, "at the top of the file"),
    ("work_pool: {name: p, job_variable: {}}", "DC121", W, "Write 'job_variables'"),
    ("work_pool: {name: p, infra_overrides: {}}", "DC121", W, "Write 'job_variables'"),
    ("schedule: {cron: '@daily', time_zone: UTC}", "DC121", E, "Write 'timezone'"),
    ("schedule: {cron: '@daily', schedules: []}", "DC121", E, "items of one list"),
    ("schedule: {cron: '@daily', catchup: false}", "DC122", W, "Remove it"),
    ("schedule: {cron: '@daily', max_active_runs: 1}", "DC122", W, "Remove it"),
    ("schedule: {cron: '@daily', max_scheduled_runs: 1}", "DC122", W, "Remove it"),
    ("version: 1.0", "DC123", W, "Quote it: '1.0'"),
    ("description: 2024-01-01 10:00:00", None, W, ""),
    ("work_pool: p", "DC123", W, "{name: p}"),
    ("tags: [yes]", "DC123", W, "Quote it: 'True'"),
    ("tags: [a, [b, c]]", "DC123", W, "one flat list"),
    ("parameters:", "DC126", W, "Remove the key"),
    ("tags:", "DC126", W, "Remove the key"),
    ("work_pool: {name: p, job_variables: }", "DC126", W, "Remove the key"),
    ("triggers: [null]", "DC126", W, "Remove the dash"),
    ("version_type: vcs:gti", "DC124", E, "Did you mean 'vcs:git'?"),
    ("concurrency_limit: 0", "DC124", E, ""),
    ("concurrency_limit: {limit: 1, collision_strategy: enqueue}", "DC124", E, "'ENQUEUE'"),
    ("concurrency_limit: {limit: 1, grace_period_seconds: 5}", "DC124", E, ""),
    ("concurrency_limit: {collision_strategy: ENQUEUE}", "DC127", E, "concurrent runs"),
    ("concurrency_limit: many", "DC128", E, ""),
    ("parameters: [1]", "DC128", E, ""),
    ("paused: maybe", "DC128", E, ""),
    ("schedules: {cron: '@daily'}", "DC128", E, "dash"),
    ("tags: {a: b}", "DC128", E, ""),
    ("build: yes", "DC128", E, ""),
    ("description: [a]", "DC128", E, ""),
    ("schedule: {cron: '@daily'}\nschedules: []", "DC209", E, "all into 'schedules'"),
    ("description: '{{ $NOT_SET }}'", "DC302", E, "NOT_SET"),
    ("concurrency_limit: '{{ $WORD }}'", "DC128", E, ""),
    ("description: '{{ a | b }}'", "DC301", W, "without filters"),
]


@pytest.mark.parametrize(("body", "code", "severity", "help_"), FINDINGS)
def test_reports_problems_of_an_entry(
    body: str, code: str | None, severity: Severity, help_: str
) -> None:
    _, report = deployment(body, {"WORD": "many"})
    if code is None:
        assert not report.items
        return
    found = only(report)
    assert (found.code, found.severity) == (code, severity)
    assert help_ in (found.help or "")
    assert found.span is not None
    assert found.span.line > 3


ACCEPTED = [
    ("build: {}", {"build": {}}),
    ("build:", {"build": None}),
    ("pull: []", {"pull": []}),
    ("push: {f: {x: 1}}", {"push": {"f": {"x": 1}}}),
    ("tags: a", {"tags": ["a"]}),
    ("description:", {}),
    ("paused: 'yes'", {"paused": True}),
    ("paused: 0", {"paused": False}),
    ("enforce_parameter_schema: 'off'", {"enforce_parameter_schema": False}),
    ("concurrency_limit: '3'", {"concurrency_limit": 3, "concurrency_options": None}),
    ("concurrency_limit:", {"concurrency_limit": None, "concurrency_options": None}),
    (
        "concurrency_limit: {limit: '3'}",
        {"concurrency_limit": 3, "concurrency_options": {"collision_strategy": "ENQUEUE"}},
    ),
    (
        "concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW, grace_period_seconds: 60}",
        {
            "concurrency_limit": 1,
            "concurrency_options": {
                "collision_strategy": "CANCEL_NEW",
                "grace_period_seconds": 60,
            },
        },
    ),
    (
        "work_pool: {name: p, work_queue_name: q, job_variables: {a: 1}}",
        {"work_pool_name": "p", "work_queue_name": "q", "job_variables": {"a": 1}},
    ),
    ("parameters: {when: 2024-01-01}", {"parameters": {"when": "2024-01-01"}}),
    ("schedules:", {"schedules": None}),
    ("schedules: []", {"schedules": []}),
    ("schedule: {}", {}),
    ("schedule:", {}),
    ("schedule: {cron: '@daily'}", {"schedules": [{"schedule": {"cron": "@daily"}}]}),
    ("triggers:", {"triggers": []}),
    ("paused: '{{ prefect.variables.p }}'", {"paused": "{{ prefect.variables.p }}"}),
    ("paused: '{{ $WORD }}'", {"paused": True}),
    ("schedules: '{{ prefect.variables.s }}'", {"schedules": "{{ prefect.variables.s }}"}),
    ("tags: ['{{ prefect.variables.t }}']", {"tags": ["{{ prefect.variables.t }}"]}),
    ("flow_name: x", {}),
]


@pytest.mark.parametrize(("body", "fields"), ACCEPTED)
def test_converts_valid_entries_without_diagnostics(body: str, fields: Json) -> None:
    found, report = deployment(body, {"WORD": "on"})
    assert not report.items
    assert normalize(found.deployments[0].raw) == (fields, [])


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ("version: 1.10", "version", "1.10"),
        ("version: 1.0", "version", "1.0"),
        ("version: 010", "version", "010"),
        ("description: 0x10", "description", "0x10"),
        ("tags: [1.10, yes, a]", "tags", ["1.1", "True", "a"]),
        ("parameters:", "parameters", {}),
        ("tags:", "tags", []),
        ("tags: [a, [b, [c, 1]], d]", "tags", ["a", "b", "c", "1", "d"]),
        ("work_pool: p", "work_pool_name", "p"),
    ],
)
def test_values_that_prefect_rejects_keep_their_plain_meaning(
    body: str, field: str, value: Json
) -> None:
    found, report = deployment(body)
    assert report.errors == 0
    fields, problems = normalize(found.deployments[0].raw)
    assert fields[field] == value
    assert not problems


def test_types_are_checked_again_after_rendering() -> None:
    found, report = deployment("concurrency_limit: '{{ prefect.variables.n }}'")
    raw = dict(found.deployments[0].raw)
    assert not report.items
    assert normalize({**raw, "concurrency_limit": "3"})[0]["concurrency_limit"] == 3
    fields, (problem,) = normalize({**raw, "concurrency_limit": "three"})
    assert "concurrency_limit" not in fields
    assert (problem.path, problem.code) == (("concurrency_limit",), "DC128")


def test_accepts_unknown_step_outputs_anywhere() -> None:
    later = Unknown("build", "x")
    raw = {
        "name": "d",
        "entrypoint": "a.py:f",
        "version": later,
        "tags": [later, "a"],
        "concurrency_limit": later,
        "paused": later,
        "work_pool": {"name": "p", "job_variables": {"image": later}},
        "schedules": [{"cron": later, "timezone": later}, {"interval": later}],
        "triggers": [{"expect": [later, "a"], "within": later}],
    }
    fields, problems = normalize(raw)
    assert not problems
    assert fields["schedules"][0] == {"schedule": {"cron": later, "timezone": later}}
    assert (fields["version"], fields["tags"]) == (later, [later, "a"])
    assert fields["job_variables"] == {"image": later}


def test_an_invalid_item_does_not_change_later_indexes() -> None:
    _, report = deployment("schedules:\n- interval: 0\n- cron: bad\n- null\n- {cron: worse}\n")
    places = [(item.code, item.span.line if item.span else 0) for item in report]
    assert places == [("DC124", 5), ("DC126", 7), ("DC201", 6), ("DC201", 8)]


def test_problems_of_a_merged_value_are_shown_once() -> None:
    _, report = project("""
        definitions:
          base: &base {entrypoint: a.py:f, is_paused: true, version: 1.0}
        deployments:
          - {<<: *base, name: one}
          - {<<: *base, name: two}
    """)
    assert [item.code for item in report.distinct()] == ["DC121", "DC123"]


def test_parses_a_project() -> None:
    found, report = project(
        """
        name: shop
        prefect-version: 3.4.0
        build: [{f: {}}]
        pull: null
        x-anything: {a: 1}
        definitions: {b: 2}
        deployments:
          - {name: one, entrypoint: "./a.py:f"}
          - {name: "two-{{ $STAGE }}", entrypoint: "b:{{ $FLOW }}"}
    """,
        {"STAGE": "dev", "FLOW": "main"},
    )
    assert not report.items
    assert found.name == "shop"
    assert found.actions == {"build": [{"f": {}}], "pull": None}
    assert [(spec.name, spec.entrypoint) for spec in found.deployments] == [
        ("one", "./a.py:f"),
        ("two-dev", "b:main"),
    ]
    assert str(found.deployments[1].span(("name",))) == "prefect.yaml:10:12"


def test_a_project_is_named_after_its_directory_by_default(tmp_path: Path) -> None:
    from deployctl.core.diagnostics import Report

    file = str(tmp_path / "etl" / "prefect.yaml")
    document = parse_document("deployments: []", file, Report())
    assert document is not None
    assert parse_project(document, Report(), {}).name == "etl"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("deployments: [{entrypoint: a.py:f}]", "DC127"),
        ("deployments: [{name: a}]", "DC127"),
        ("deployments: [text]", "DC128"),
        ("deployments: [null]", "DC126"),
        ("deployments: {a: 1}", "DC128"),
        ("deployments:", "DC126"),
        ("deploymentss: []", "DC120"),
        ("variables: {a: 1}", "DC131"),
        ("name: 1.0", "DC123"),
        ("deployments: [{name: a/b, entrypoint: x}]", "DC125"),
    ],
)
def test_reports_problems_of_the_top_level(text: str, code: str) -> None:
    assert only(project(text)[1]).code == code


def test_a_duplicate_deployment_shows_both_spans() -> None:
    _, report = project("""
        deployments:
          - {name: a, entrypoint: a.py:f}
          - {name: a, entrypoint: a.py:g}
          - {name: a, entrypoint: ./a.py:f}
    """)
    found = only(report)
    assert (found.code, str(found.span)) == ("DC129", "prefect.yaml:5:12")
    assert [str(span) for span, _ in found.related] == ["prefect.yaml:3:12"]


def test_names_are_compared_by_flow_when_flows_are_known() -> None:
    found, report = project("""
        deployments:
          - {name: a, entrypoint: a.py:f}
          - {name: a, entrypoint: b.py:f}
    """)
    assert not report.items
    check_same_names(((spec, "hello") for spec in found.deployments), report)
    assert codes(report) == ["DC129"]


@pytest.mark.parametrize(
    "body",
    ["schedule: {cron: '@daily', time_zone: UTC}", "entry_point: x", "tags: {a: b}"],
)
def test_a_second_validation_reports_only_what_is_new(body: str) -> None:
    found, report = deployment(body)
    spec = found.deployments[0]
    written = found.document.data["deployments"][0]
    assert len(report.items) == 1
    _, problems = normalize(written, changed=set(written), reported=spec.problems)
    assert problems == []
    _, problems = normalize({**written, "paused": "x"}, changed={"paused"})
    assert [(problem.code, problem.path) for problem in problems] == [("DC128", ("paused",))]


def test_values_of_the_command_line_have_no_span() -> None:
    found, report = deployment("version: 1a")
    spec = replace(found.deployments[0], overridden=frozenset({"version"}))
    problems = [Problem(("version",), "DC128", "no"), Problem(("name",), "DC128", "no")]
    spec.report_problems(problems, report)
    assert [str(item.span) for item in report] == ["None", "prefect.yaml:2:11"]


def test_reports_each_of_a_thousand_deployments_at_its_line() -> None:
    entries = "".join(f"  - <<: *common\n    name: d{n}\n    tagz: [t{n}]\n" for n in range(1000))
    text = f"x-common: &common\n  entrypoint: a.py:f\ndeployments:\n{entries}"
    found, report = project(text)
    assert [spec.name for spec in found.deployments] == [f"d{n}" for n in range(1000)]
    assert [(item.code, item.span and item.span.line) for item in report] == [
        ("DC120", 6 + 3 * n) for n in range(1000)
    ]


BLANK = """
    deployments:
    - name: null
      entrypoint:
      tags: []
      description: ""
      schedule: {}
      work_pool: {name: null, work_queue_name: null, job_variables: {}}
    - name: d
      entrypoint: a.py:f
"""


def test_an_entry_that_was_never_filled_in_is_skipped() -> None:
    """`prefect init` writes one, and `prefect deploy` skips it."""
    found, report = project(BLANK)
    assert [each.name for each in found.deployments] == ["d"]
    assert codes(report) == ["DC134"]


@pytest.mark.parametrize("value", ["name: a", "tags: [a]", "parameters: {a: null, b: 0}"])
def test_an_entry_with_any_value_is_not_skipped(value: str) -> None:
    _, report = project(f"deployments: [{{schedule: {{}}, entrypoint: null, {value}}}]")
    assert codes(report)[0] == "DC127"
