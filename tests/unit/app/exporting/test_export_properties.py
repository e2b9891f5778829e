"""Any exported file, loaded with the flow's code beside it, desires what the server has."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployctl.api.dialect import Dialect
from deployctl.app.deploying.desired_state import PlanInputs, desired_deployment
from deployctl.app.deploying.load import LoadOptions, load_project
from deployctl.app.exporting.export import ExportedFile
from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, Resource
from deployctl.deploy.plan import compare
from deployctl.deploy.resources.deployments import current_deployment
from deployctl.project.selection import Selection
from deployctl.templating.references import ReferenceValues
from tests.unit.app.exporting.exported import POOLS, exported, schema_of_code, with_schema
from tests.unit.deploy.answers import NOTHING, V2, V3, answer, schedule

ODD_TEXTS = [
    *("", " ", "yes", "No", "on", "~", "null", "0777", "1:30", "1e3", "1_000", "0x1F", "=", "<<"),
    *("2024-01-01", "2024-01-01T00:00:00Z", "- a", "a: b", "a #b", "#", "'", '"', "\\", "\t", "|"),
    *("{{", "}}", "{{ x }}", "{{ $HOME }}", "{{ a | b }}", "{{ ctx.flow_run.id }}", "{% x %}"),
    *("{{ prefect.variables.x }}", "{{ prefect.blocks.json.x }}", "%s", "@x", "`x`", "&a", "*a"),
    *("a\nb", "a\n", "\na", " a\nb", "a \nb", "a\n\nb\n\n", "a\tb\nc", "\r\n", "a\r", "ünïcödé"),
    *("\U0001f600", "\x85", "\u2028", "\ufeff", "\x00", "\x1b[0m", "!tag", "---", "...", "? a"),
    *("a\n---\nb", "a\n...\n", "a: |", ": ", "x" * 200 + " y" * 100),
]
TEXTS = st.one_of(st.sampled_from(ODD_TEXTS), st.text(st.characters(exclude_categories=["Cs"])))
NAMES = st.text("abcdefg-_ .ü0123", min_size=1, max_size=8)
VALUES = st.recursive(
    st.one_of(
        TEXTS,
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
MAPPINGS = st.dictionaries(TEXTS, VALUES, max_size=3)
STEPS = st.lists(
    st.fixed_dictionaries(
        {"prefect.deployments.steps.git_clone": st.fixed_dictionaries({"repository": TEXTS})}
    ),
    max_size=2,
)
TIMES = st.one_of(
    st.fixed_dictionaries(
        {
            "cron": st.sampled_from(["0 7 * * *", "@daily", "5 4 * * 1"]),
            "timezone": st.sampled_from([None, "UTC", "Asia/Taipei"]),
            "day_or": st.booleans(),
        }
    ),
    st.fixed_dictionaries(
        {
            "interval": st.sampled_from([1.0, 0.5, 3600.0, 86400.5]),
            "anchor_date": st.sampled_from(["2024-01-31T07:00:00+08:00", "2020-01-01T00:00:00Z"]),
            "timezone": st.sampled_from([None, "Europe/Berlin"]),
        }
    ),
    st.fixed_dictionaries(
        {
            "rrule": st.sampled_from(
                ["FREQ=DAILY;BYHOUR=7", "DTSTART:20240101T000000\nFREQ=WEEKLY", "RRULE:FREQ=DAILY"]
            ),
            "timezone": st.sampled_from([None, "UTC"]),
        }
    ),
)
PARAMETERS = st.fixed_dictionaries({}, optional={"name": VALUES, "times": VALUES, "config": VALUES})
ACTION = st.fixed_dictionaries(
    {"parameters": st.none() | MAPPINGS, "job_variables": st.none() | MAPPINGS}
)
EVENT = st.fixed_dictionaries(
    {
        "type": st.just("event"),
        "id": st.just("t-1"),
        "match": st.dictionaries(TEXTS, TEXTS, max_size=2),
        "match_related": st.just({}) | st.just([{"prefect.resource.role": "flow"}]),
        "after": st.just([]),
        "expect": st.lists(TEXTS, min_size=1, max_size=2, unique=True),
        "for_each": st.just([]) | st.just(["prefect.resource.id"]),
        "posture": st.just("Reactive"),
        "threshold": st.integers(1, 3),
        "within": st.sampled_from([0.0, 30.0, 1.5]),
    }
)
TRIGGER = st.one_of(
    EVENT,
    st.fixed_dictionaries(
        {
            "type": st.just("compound"),
            "triggers": st.lists(EVENT, min_size=1, max_size=2),
            "within": st.none() | st.just(60.0),
            "require": st.sampled_from(["any", "all", 1]),
        }
    ),
)


@st.composite
def deployments(draw: st.DrawFn, dialect: Dialect) -> Resource:
    """A deployment as a server of this dialect returns it."""
    listed = draw(st.lists(TIMES, max_size=3))
    slugs = dialect.major > 2
    schedules = [
        schedule(
            f"s-{number}",
            schedule=times,
            active=draw(st.booleans()),
            parameters=draw(PARAMETERS) if slugs else {},
            slug=f"slug-{number}" if slugs and draw(st.booleans()) else None,
            max_scheduled_runs=draw(st.sampled_from([None, 5])),
        )
        for number, times in enumerate(listed)
    ]
    limit = draw(st.none() | st.integers(0, 3)) if slugs else None
    options = [None, {"collision_strategy": "ENQUEUE"}, {"collision_strategy": "CANCEL_NEW"}]
    variables = draw(MAPPINGS)
    automations = [
        {
            "id": f"a-{number}",
            "name": name,
            "description": draw(TEXTS),
            "enabled": draw(st.booleans()),
            "trigger": draw(TRIGGER),
            "tags": [],
            "actions": [
                {
                    "type": "run-deployment",
                    "source": "selected",
                    "deployment_id": "d-1",
                    "schedule_after": 0.0,
                    **draw(ACTION),
                }
            ]
            * draw(st.sampled_from([1, 1, 1, 2])),
            "actions_on_trigger": [],
            "actions_on_resolve": [],
        }
        for number, name in enumerate(draw(st.lists(TEXTS.filter(bool), max_size=2)))
    ]
    found = answer(
        name=draw(NAMES),
        entrypoint="flows.py:hello",
        version=draw(st.none() | TEXTS | st.sampled_from(["0123abcd", "0" * 32])),
        description=draw(st.none() | st.just("None") | TEXTS),
        tags=draw(st.lists(TEXTS, max_size=3)),
        parameters=draw(PARAMETERS),
        paused=draw(st.booleans()),
        enforce_parameter_schema=draw(st.booleans()),
        schedules=schedules,
        global_concurrency_limit=None if limit is None else {"limit": limit},
        concurrency_options=None if limit is None else draw(st.sampled_from(options)),
        job_variables=variables,
        infra_overrides=variables,
        work_queue_name=draw(st.sampled_from(["default", "high", "{{ x }}"])),
        pull_steps=draw(st.none() | STEPS),
        path=".",
    )
    if not slugs:
        for name in ("global_concurrency_limit", "concurrency_options"):
            del found[name]
    return current_deployment("hello", found, automations, dialect)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the file and the code."""
    return tmp_path_factory.mktemp("project")


def planned(
    file: ExportedFile, current: list[Resource], dialect: Dialect, folder: Path
) -> list[Change]:
    """What a plan of the file would do to these deployments."""
    (folder / "prefect.yaml").write_text(file.text, encoding="utf-8")
    report = Report()
    options = LoadOptions(Selection(everything=True))
    loaded = load_project(folder / "prefect.yaml", options, report, {})
    assert loaded is not None, (file.text, report.items)
    inputs = PlanInputs(dialect, {}, folder, ReferenceValues({}), POOLS)
    desired = [desired_deployment(each, inputs, report) for each in loaded.selected]
    assert not report.errors, (file.text, [each.message for each in report])
    by_key = {each.key: each for each in current}
    return [
        compare(each, read(by_key[each.key], each), lambda *_: NOTHING, dialect) for each in desired
    ]


def show(change: Change) -> Json:
    """What is needed of a change, for a failure's message."""
    fields = [(each.field, each.old, each.new) for each in change.fields]
    children = [show(each) for each in change.children if each.is_needed]
    return change.title, change.op, fields, children


def read(current: Resource, desired: Resource) -> Resource:
    """The deployment as a plan reads it: automations are listed by the names in the file."""
    names = {child.key for child in desired.children if child.kind == "automation"}
    children = (c for c in current.children if c.kind != "automation" or c.key in names)
    return replace(current, children=tuple(children))


@pytest.mark.parametrize("dialect", [V3, V2], ids=str)
@settings(max_examples=20 * int(os.environ.get("DEPLOYCTL_EXAMPLES", "1")))
@given(data=st.data())
def test_exported_file_changes_nothing(data: st.DataObject, dialect: Dialect, folder: Path) -> None:
    schema = schema_of_code(folder)
    drawn = data.draw(
        st.lists(deployments(dialect), min_size=1, max_size=2, unique_by=lambda each: each.key)
    )
    current = sorted((with_schema(each, schema) for each in drawn), key=lambda each: each.key)
    file, _ = exported(current, dialect, folder)
    assert set(file.deployments) | set(file.left_out) == {each.name for each in current}
    if file.deployments:
        changes = planned(file, current, dialect, folder)
        assert [each.name for each in changes] == list(file.deployments)
        assert [show(each) for each in changes if each.is_needed] == []
