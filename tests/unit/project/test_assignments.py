"""`--set PATH=YAML`: where a value goes, and which paths are refused."""

from __future__ import annotations

import pytest

from deployctl.core.diagnostics import Report
from deployctl.core.errors import UsageError
from deployctl.core.json_values import Json
from deployctl.project.assignments import apply_assignments, parse_assignment
from deployctl.project.document import Document
from deployctl.project.parse import parse_project, report_entries
from tests.unit.project.reading import document

TEXT = """\
deployments:
  - name: daily
    entrypoint: flows.py:etl
    tags: [a, b]
    parameters: {rows: 1, region: eu}
    schedule: {cron: "0 6 * * *"}
    work_pool: dev
  - name: v1.daily
    entrypoint: flows.py:other
work_pools:
  dev: {type: process, queues: [{name: q}]}
"""


def changed(*texts: str) -> Document:
    report = Report()
    found, missing = apply_assignments(
        document(TEXT), [parse_assignment(text, report) for text in texts]
    )
    assert not report.items
    for error in missing.values():
        raise error
    return found


VALUES: dict[str, tuple[str, tuple[str | int, ...], Json]] = {
    "a list": ("deployments.daily.tags=[x]", ("deployments", 0, "tags"), ["x"]),
    "an item of a list": ("deployments.daily.tags.1=x", ("deployments", 0, "tags"), ["a", "x"]),
    "a value of a mapping": (
        "deployments.daily.parameters.rows=2",
        ("deployments", 0, "parameters"),
        {"rows": 2, "region": "eu"},
    ),
    "a new mapping": (
        "deployments.'v1.daily'.parameters.a.b=true",
        ("deployments", 1, "parameters"),
        {"a": {"b": True}},
    ),
    "a mapping replaces": (
        "deployments.daily.parameters={x: 1}",
        ("deployments", 0, "parameters"),
        {"x": 1},
    ),
    "a name with dots": (
        'deployments."v1.daily".version=2',
        ("deployments", 1, "version"),
        2,
    ),
    "nothing is null": ("deployments.daily.tags=", ("deployments", 0, "tags"), None),
    "a text with an equals sign": (
        "deployments.daily.description='a=b'",
        ("deployments", 0, "description"),
        "a=b",
    ),
    "several lines": (
        "deployments.daily.parameters=a: 1\nb: 2",
        ("deployments", 0, "parameters"),
        {"a": 1, "b": 2},
    ),
    "the queue of a pool that is only named": (
        "deployments.daily.work_pool.work_queue_name=q",
        ("deployments", 0, "work_pool"),
        {"name": "dev", "work_queue_name": "q"},
    ),
    "a pool of a mapping": (
        "work_pools.dev.concurrency_limit=3",
        ("work_pools", "dev", "concurrency_limit"),
        3,
    ),
    "a queue by name": (
        "work_pools.dev.queues.q.priority=1",
        ("work_pools", "dev", "queues", 0),
        {"name": "q", "priority": 1},
    ),
    "a key of the file": ("name=p", ("name",), "p"),
}


@pytest.mark.parametrize(("text", "path", "expected"), VALUES.values(), ids=VALUES)
def test_sets_values(text: str, path: tuple[str | int, ...], expected: Json) -> None:
    found = changed(text)
    node = found.root.find(path)
    value = found.data
    for part in path:
        value = value[part]
    assert node is not None
    assert node.value == value == expected


def test_schedules_replace_the_older_form_and_later_options_count() -> None:
    found = changed(
        "deployments.daily.schedules=[{cron: '0 7 * * *'}]",
        "deployments.daily.schedules.0.cron=0 8 * * *",
    )
    assert found.data["deployments"][0]["schedules"] == [{"cron": "0 8 * * *"}]
    assert "schedule" not in found.data["deployments"][0]
    assert document(TEXT).data["deployments"][1] == found.data["deployments"][1]


ERRORS = {
    "no value": ("deployments.daily.tags", "--set needs PATH=YAML", "Write it as"),
    "no path": ("=1", "--set needs PATH=YAML", "Write it as"),
    "an unknown key of the file": (
        "deploymnts.daily.tags=[]",
        "--set deploymnts.daily.tags: 'deploymnts' is not a key of this file",
        "Did you mean 'deployments'?",
    ),
    "an unknown deployment": (
        "deployments.dail.tags=[]",
        "--set deployments.dail.tags: prefect.yaml has no deployment 'dail'",
        "Did you mean 'daily'?",
    ),
    "dots without quotes": (
        "deployments.v1.daily.tags=[]",
        "--set deployments.v1.daily.tags: prefect.yaml has no deployment 'v1'",
        "Quote a name with dots: deployments.'v1.daily'.",
    ),
    "an unknown key": (
        "deployments.daily.tgas=[]",
        "--set deployments.daily.tgas: 'tgas' is not a key of this deployment",
        "Did you mean 'tags'?",
    ),
    "a key in the wrong place": (
        "deployments.daily.job_variables.image=x",
        "--set deployments.daily.job_variables.image: "
        "'job_variables' is not a key of this deployment",
        "Move it one level down, under 'work_pool'.",
    ),
    "an unknown key further down": (
        "deployments.daily.work_pool.nam=x",
        "--set deployments.daily.work_pool.nam: 'nam' is not a key of this work pool",
        "Did you mean 'name'?",
    ),
    "a whole deployment": (
        "deployments.daily={}",
        "--set deployments.daily: the path ends with the name of the deployment",
        "Add a key of it.",
    ),
    "an unknown work pool": (
        "work_pools.prod.type=x",
        "--set work_pools.prod.type: prefect.yaml has no work pool 'prod'",
        "It has 'dev'.",
    ),
    "an index that is not there": (
        "deployments.daily.tags.2=x",
        "--set deployments.daily.tags.2: the list 'deployments.daily.tags' has no item '2'",
        "Write an index from 0 to 1, or set the whole list.",
    ),
    "below a text": (
        "deployments.daily.entrypoint.a=x",
        "--set deployments.daily.entrypoint.a: "
        "'deployments.daily.entrypoint' is no mapping, so it has no 'a'",
        "",
    ),
    "an environment": (
        "environments.prod.tags=[]",
        "--set environments.prod.tags: an environment is read before --set applies",
        "Set what it changes, as in deployments.NAME.KEY.",
    ),
    "no YAML": (
        "deployments.daily.tags=[a",
        "--set deployments.daily.tags: invalid YAML: ",
        "",
    ),
}


@pytest.mark.parametrize(("text", "message", "help_"), ERRORS.values(), ids=ERRORS)
def test_refuses_paths(text: str, message: str, help_: str) -> None:
    with pytest.raises(UsageError) as caught:
        changed(text)
    assert caught.value.message.startswith(message)
    assert (caught.value.help or "").startswith(help_)


def test_problems_of_a_value_name_the_option() -> None:
    found = changed(
        "deployments.daily.paused=perhaps", "deployments.daily.schedules=[{cron: 61 * * * *}]"
    )
    report = Report()
    report_entries(parse_project(found, report, {}).deployments, report)
    wrong = {item.message: item.span for item in report if item.message.startswith("--set ")}
    assert set(wrong.values()) == {None}
    assert "--set deployments.daily.paused: 'paused' must be true or false, not a text" in wrong
    assert any("--set deployments.daily.schedules: " in message for message in wrong)
