"""A key that is added to the table of keys reaches every reader of the table.

Each test adds a row for a key that doesn't exist, and finds it in the editor schema, the parsed
file, the desired resource, the plan, the body of the write, and the warning for old servers.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployctl.api.dialect import Dialect, Range
from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json
from deployctl.deploy import desired
from deployctl.deploy.model import Change, Op, Resource
from deployctl.deploy.plan import plan
from deployctl.deploy.resources import RESOURCE_KINDS
from deployctl.deploy.resources.base import body, current_fields
from deployctl.project import keys, resource_keys, resources
from deployctl.project.normalize import normalize
from deployctl.project.parse import parse_project
from deployctl.project.schema import json_schema
from deployctl.project.shapes import Field, Key, Number, Table
from deployctl.project.trigger_keys import ACTIONS, AUTOMATION
from deployctl.project.triggers import automations
from tests.unit.deploy.answers import KEY
from tests.unit.project.reading import document

NEW = Dialect((3, 7, 0))
OLD = Dialect((3, 6, 0))
FIELD = Field("api_level", Range((3, 7, 0)), same=lambda a, b: a == b or b == 99, default=7)
ROW = Key(Number(minimum=1), "How new it is.", FIELD)

TABLES = {
    "deployment": keys.DEPLOYMENT,
    "work pool of a deployment": keys.WORK_POOL,
    "schedule": keys.SCHEDULE,
    "work pool": resource_keys.POOL,
    "work queue": resource_keys.QUEUE,
}
FILE = """
work_pools:
- name: p
  type: process
  {work pool}
  queues:
  - name: q
    {work queue}
deployments:
- name: daily
  entrypoint: a.py:hello
  work_pool:
    name: p
    {work pool of a deployment}
  {deployment}
  schedules:
  - cron: '@daily'
    {schedule}
"""


@pytest.fixture(params=TABLES)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The table to which the row is added."""
    monkeypatch.setitem(TABLES[request.param].keys, "level", ROW)
    resources.fields_of.cache_clear()
    resources.managed_fields.cache_clear()
    yield request.param
    monkeypatch.undo()
    resources.fields_of.cache_clear()
    resources.managed_fields.cache_clear()


def declared(place: str) -> list[Resource]:
    """The desired resources of the file in which `place` says `level: 3`."""
    text = FILE
    for name in TABLES:
        text = text.replace(f"{{{name}}}", "level: 3" if name == place else "")
    report = Report()
    project = parse_project(document(text), report, {})
    (spec,) = project.deployments
    assert not report.items
    assert not spec.problems
    fields, problems = normalize(spec.raw)
    assert not problems
    roots = [desired.work_pool(pool) for pool in project.work_pools]
    return [*roots, desired.deployment(KEY, fields, None)]


def holder(roots: list[Resource]) -> Resource:
    """The resource that has the new field."""
    everything = [each for root in roots for each in (root, *root.children)]
    (found,) = [each for each in everything if "api_level" in each.fields]
    return found


def test_new_key_is_in_editor_schema(place: str) -> None:
    assert json_schema()["$defs"][TABLES[place].name]["properties"]["level"]["description"]


def test_new_key_is_a_declared_field(place: str) -> None:
    assert holder(declared(place)).fields["api_level"] == 3


def test_new_key_is_compared_reset_and_written(place: str) -> None:
    desired_one = holder(declared(place))
    kind = desired_one.kind

    def change(current: Json, fields: Json, earlier: frozenset[str]) -> Change:
        answer = {**desired_one.fields, "api_level": current}
        existing = Resource(kind, desired_one.key, current_fields(kind, answer, NEW), id="1")
        root = Resource(kind, desired_one.key, fields)
        (found,) = plan([root], [existing], lambda *_: earlier, NEW).changes
        return found

    without = {k: v for k, v in desired_one.fields.items() if k != "api_level"}
    nothing, before = frozenset[str](), frozenset({"api_level"})
    updated = change(2, desired_one.fields, nothing)
    assert (updated.op, body(updated)["api_level"]) == (Op.UPDATE, 3)
    assert change(99, desired_one.fields, nothing).op is Op.NONE
    assert body(change(2, without, before))["api_level"] == 7
    assert change(2, without, nothing).op is Op.NONE


def test_new_key_is_left_out_on_older_servers(place: str) -> None:
    roots = declared(place)
    fitting = [desired.fit_to_server(root, NEW) for root in roots]
    assert holder([root for root, _ in fitting])
    assert not any(left_out for _, left_out in fitting)
    names = [name for root in roots for name in desired.fit_to_server(root, OLD)[1]]
    assert [name.rpartition(".")[2] for name in names] == ["api_level"]
    assert resources.key_path(holder(roots).kind, "api_level")[-1] == "level"


def test_new_key_of_trigger_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def added(table: Table, key: Key) -> None:
        monkeypatch.setitem(table.keys, "level", key)

    added(AUTOMATION, ROW)
    (found,) = automations("d", [{"expect": ["a"], "level": 3}])
    assert found["api_level"] == 3
    added(AUTOMATION, Key(Number(), "", ACTIONS, default=1))
    (found,) = automations("d", [{"expect": ["a"]}])
    assert found["actions"][0]["level"] == 1


def test_every_kind_of_resource_has_a_table() -> None:
    assert RESOURCE_KINDS.keys() <= resources.RESOURCES.keys()
