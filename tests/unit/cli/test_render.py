from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deployctl.cli.render import CommandReport, github, human
from deployctl.cli.render import json as as_json
from deployctl.cli.render.plan import plan
from deployctl.core.diagnostics import Diagnostic, Severity, Span
from deployctl.core.errors import Rejected
from deployctl.core.json_values import Json
from deployctl.deploy.desired import deployment
from deployctl.deploy.model import Change, Op, Plan, Resource, Result, ResultStatus
from deployctl.deploy.plan import compare
from tests.unit.deploy.answers import KEY, SCHEMA, V3, cron, live

CODE = {"entrypoint": "a.py:hello", "parameter_openapi_schema": SCHEMA, "work_pool_name": "pool"}


def change(fields: Json, **there: Json) -> Change:
    want = deployment(KEY, {**CODE, **fields}, None)
    return compare(want, live(**there), lambda *_: frozenset(), V3)


def plan_text(*changes: Change) -> str:
    return "\n".join(line.plain for line in plan(CommandReport("plan", plan=Plan(changes))))


def test_plan_shows_old_and_new_value_of_each_field() -> None:
    found = change(
        {"tags": ["b"], "job_variables": {"image": "x:2"}},
        tags=["a"],
        job_variables={"image": "x:1", "env": {}},
        schedules=[cron("s1", "0 1 * * *")],
    )
    text = plan_text(found)
    assert "~ deployment hello/daily" in text
    assert "[a] → [b]" in text
    assert "job_variables.image" in text
    assert "x:1 → x:2" in text
    assert "rescheduled" in text
    assert "Plan: 1 to update, 0 unchanged." in text


def test_plan_shows_changed_schedule_in_one_line() -> None:
    found = change(
        {"schedules": [{"schedule": {"cron": "0 2 * * *", "timezone": "Asia/Taipei"}}]},
        schedules=[cron("s1", "0 1 * * *")],
    )
    assert "cron 0 1 * * * → cron 0 2 * * * Asia/Taipei" in plan_text(found)


def test_plan_without_changes() -> None:
    assert plan_text(change({})) == "No changes: 1 unchanged."


def test_every_format_masks_values_of_secret_names() -> None:
    found = change({"job_variables": {"env": {"DB_PASSWORD": "hunter22"}}})
    report = CommandReport("plan", plan=Plan((found,)))
    for text in (plan_text(found), as_json.render(report), github.summary(report)):
        assert "DB_PASSWORD" in text
        assert "hunter22" not in text


def test_failed_result_shows_what_was_done_before() -> None:
    result = Result(
        change({"tags": ["b"]}),
        ResultStatus.FAILED,
        Rejected("the server does not take it", help="Change it."),
        done=("deployment daily updated",),
    )
    text = "\n".join(
        line.plain for line in human.results(CommandReport("deploy", results=(result,)))
    )
    assert "! deployment hello/daily failed: the server does not take it" in text
    assert "done before the failure: deployment daily updated" in text
    assert "help: Change it." in text
    assert "Done: 1 failed." in text


def test_skipped_results_are_counted_and_listed_only_in_full() -> None:
    creates = [replace(change({"tags": ["b"]}), key=("hello", f"d{n}")) for n in range(3)]
    results = tuple(Result(each, ResultStatus.SKIPPED, reason="why") for each in creates)
    report = CommandReport("deploy", results=results)
    lines = [line.plain for line in human.results(report)]
    assert lines == [
        "  ? 3 deployments skipped: why",
        "      --full lists them",
        "Done: 3 skipped.",
    ]
    full = [line.plain for line in human.results(replace(report, full=True))]
    assert full[1] == "      hello/d0, hello/d1, hello/d2"
    (only, _) = human.results(replace(report, results=results[:1]))
    assert only.plain == "  ? deployment hello/d0 skipped: why"


def test_json_summary_counts_children_and_undeclared_resources() -> None:
    found = change({"schedules": []}, schedules=[cron("s1", "0 1 * * *")])
    report = CommandReport("plan", plan=Plan((found,), (Resource("work_queue", ("p", "q"), {}),)))
    data = json.loads(as_json.render(report))
    assert data["summary"]["children"]["delete"] == {"schedule": 1}
    assert data["summary"]["undeclared"] == 1
    assert "1 no longer declared." in "\n".join(line.plain for line in plan(report))


def test_json_has_version_changes_and_results() -> None:
    found = change({"tags": ["b"]})
    report = CommandReport(
        "deploy", plan=Plan((found,)), results=(Result(found, ResultStatus.APPLIED),)
    )
    data = json.loads(as_json.render(report))
    assert data["version"] == 1
    assert data["summary"] == {
        "create": 0,
        "update": 1,
        "delete": 0,
        "none": 0,
        "children": {"create": {}, "update": {}, "delete": {}},
        "undeclared": 0,
    }
    assert data["changes"][0]["fields"] == [{"field": "tags", "old": [], "new": ["b"]}]
    assert data["results"][0]["status"] == "applied"


SPAN = Span("prefect.yaml", 2, 3, 2, 7)
FINDING = Diagnostic("DC120", Severity.WARNING, "unknown key 'naem'", SPAN, "Did you mean 'name'?")


def test_diagnostic_shows_source_line_with_carets() -> None:
    source = {"prefect.yaml": "deployments:\n- naem: x\n"}
    (text, count) = human.diagnostics((FINDING,), source)
    assert text.plain.splitlines() == [
        "warning[DC120]: unknown key 'naem'",
        " --> prefect.yaml:2:3",
        "  |",
        "2 | - naem: x",
        "  |   ^^^^",
        "  = help: Did you mean 'name'?",
    ]
    assert count.plain == "1 warning"


def test_carets_align_after_wide_characters() -> None:
    source = {"prefect.yaml": "a: 1\n資料: naem\n"}
    span = Span("prefect.yaml", 2, 5, 2, 9)
    found = Diagnostic("DC120", Severity.WARNING, "m", span)
    (text, _) = human.diagnostics((found,), source)
    assert "  |       ^^^^" in text.plain.splitlines()


@pytest.mark.parametrize(
    ("span", "properties"),
    [
        (SPAN, "file=prefect.yaml,line=2,endLine=2,col=3,endColumn=7,title=DC120"),
        (Span("a,b.yaml", 1, 1, 3, 2), "file=a%2Cb.yaml,line=1,endLine=3,title=DC120"),
    ],
)
def test_github_annotation_has_position(span: Span, properties: str) -> None:
    found = Diagnostic("DC120", Severity.WARNING, "100%\nsure", span)
    (line,) = github.annotations(CommandReport("plan", (found,)))
    assert line == f"::warning {properties}::100%25%0Asure"


def test_change_of_schedules_counts_as_update_of_deployment() -> None:
    only_schedules = change({"schedules": []}, schedules=[cron("s1", "0 1 * * *")])
    assert (only_schedules.op, only_schedules.effective_op) == (Op.NONE, Op.UPDATE)
