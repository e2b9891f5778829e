"""Fixes of a file: each keeps comments and layout, and changes no more than it says."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployctl.app.deploying.fix import fix_file
from deployctl.core.diagnostics import Report
from deployctl.core.fix import Fix, MoveKey, Remove, SetText
from deployctl.core.json_values import Json
from deployctl.project.document import Document, parse_document
from deployctl.project.fixes import apply_fixes, fix_text, promised
from deployctl.project.parse import parse_project, report_entries


def check(text: str) -> tuple[Document | None, list]:  # type: ignore[type-arg]
    report = Report()
    found = parse_document(text, "prefect.yaml", report)
    if found is not None:
        report_entries(parse_project(found, report, {}).deployments, report)
    return found, report.items


def fixed(text: str) -> str:
    return fix_text(text, check)[0]


def data(text: str) -> Json:
    found = parse_document(text, "prefect.yaml", Report())
    assert found is not None
    return found.data


ENTRIES = [
    pytest.param("tag: [a]  # why", "tags: [a]  # why", id="misspelt"),
    pytest.param("tags: [a]\ntag: [b]", None, id="misspelt key whose name is taken"),
    pytest.param("schedul: {cron: '@daily'}", "schedule: {cron: '@daily'}", id="mapping fits"),
    pytest.param("schedul: [{cron: '@daily'}]", "schedules: [{cron: '@daily'}]", id="list fits"),
    pytest.param("version: 1.10", 'version: "1.10"', id="number"),
    pytest.param("version: &v 1.10", 'version: &v "1.10"', id="number with an anchor"),
    pytest.param("version: 1.10\nversion: 1.10", 'version: "1.10"', id="equal duplicates"),
    pytest.param("version: a\nversion: b", None, id="different duplicates"),
    pytest.param("parameters:", "", id="empty value that Prefect rejects"),
    pytest.param("work_pool: p  # main", "work_pool: {name: p}  # main", id="name of the pool"),
    pytest.param(
        "concurrency_limit: {limit: 1, strategy: enqueue}",
        'concurrency_limit: {limit: 1, collision_strategy: "ENQUEUE"}',
        id="choice in another case",
    ),
    pytest.param(
        "version_type: vcs:gti", None, id="a choice that only resembles the text is not certain"
    ),
    pytest.param("description: {{ x }}", 'description: "{{ x }}"', id="template"),
    pytest.param(
        "tags: [{{ x }}, {{ y }}]", 'tags: ["{{ x }}", "{{ y }}"]', id="templates in brackets"
    ),
    pytest.param(
        "description: {{ x }}/a:{{ y }} # c",
        'description: "{{ x }}/a:{{ y }}" # c',
        id="template with text behind it",
    ),
    pytest.param("cron: @daily", 'schedules:\n  - cron: "@daily"', id="text that YAML rejects"),
    pytest.param(
        "schedule:\n  cron: */5 * * * *", 'schedule:\n  cron: "*/5 * * * *"', id="cron with a star"
    ),
    pytest.param(
        "schedules:\n- cron: '@daily'\n  catchup: false # old\n-\n- cron: '@daily'",
        "schedules:\n- cron: '@daily'\n  # old",
        id="items that are empty or repeated",
    ),
    pytest.param(
        "schedules:\n- cron: '@daily'\n-  # why\n  cron: '@daily'",
        None,
        id="a repeated item with a comment",
    ),
    pytest.param(
        "timezone: UTC\nschedules:\n- cron: '@daily'",
        "schedules:\n- cron: '@daily'\n  timezone: UTC",
        id="into the only schedule",
    ),
    pytest.param(
        "timezone: UTC\nschedules:\n- cron: '@daily'\n- cron: '@hourly'",
        None,
        id="two schedules leave a choice",
    ),
    pytest.param(
        "timezone: UTC\nschedule:\n  cron: '@daily'",
        "schedule:\n  cron: '@daily'\n  timezone: UTC",
        id="into the single schedule",
    ),
    pytest.param(
        "# jobs\njob_variables:\n  a: |\n    x\n\n    y\n  # b\n  # c\nwork_pool:\n  name: p # q",
        "work_pool:\n  name: p # q\n  # jobs\n"
        "  job_variables:\n    a: |\n      x\n\n      y\n    # b\n    # c",
        id="a block with its comments",
    ),
    pytest.param(
        "work_pool: {name: p}  # q\njob_variables: {a: b}",
        "work_pool:  # q\n  name: p\n  job_variables: {a: b}",
        id="into brackets",
    ),
    pytest.param(
        "job_variables: {a: b}\nwork_queue_name: q",
        "work_pool:\n  job_variables: {a: b}\n  work_queue_name: q",
        id="into a mapping that is missing",
    ),
    pytest.param(
        "image: a:1\nenv: {B: c}",
        "work_pool:\n  job_variables:\n    image: a:1\n    env: {B: c}",
        id="two levels down",
    ),
    pytest.param(
        "work_pool:\n  name: p\n  tags: [a]",
        "work_pool:\n  name: p\ntags: [a]",
        id="up, from the end of the entry",
    ),
    pytest.param(
        "work_pool:\n  tags:\n  - a\n  name: p\nversion: a",
        "work_pool:\n  name: p\nversion: a\ntags:\n- a",
        id="up, past other keys",
    ),
    pytest.param("colour: red", None, id="unknown key"),
]


@pytest.mark.parametrize(("before", "after"), ENTRIES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_fixes_an_entry(before: str, after: str | None, newline: str) -> None:
    """`after` is None where nothing is certain."""
    top = "# top\ndeployments:\n- name: d\n  entrypoint: a.py:f\n"
    below = "# end\n- name: e\n  entrypoint: a.py:f"
    source, target = (
        (top + textwrap.indent(f"{text}\n" if text else "", "  ") + below).replace("\n", newline)
        for text in (before, before if after is None else after)
    )
    assert fixed(source) == target
    assert fixed(target) == target


def test_fixes_the_first_key_of_an_item() -> None:
    text = "deployments:\n- tag: [a]\n  parameters:\n  name: d\n  entrypoint: a.py:f\n"
    assert fixed(text) == "deployments:\n- tags: [a]\n  name: d\n  entrypoint: a.py:f\n"
    text = "deployments:\n- parameters:\n  name: d\n  entrypoint: a.py:f\n"
    assert fixed(text) == "deployments:\n- name: d\n  entrypoint: a.py:f\n"


def test_moves_a_key_into_the_only_deployment() -> None:
    one = "tags: [a]\ndeployments:\n  - name: d\n    entrypoint: a.py:f\n"
    assert fixed(one) == "deployments:\n  - name: d\n    entrypoint: a.py:f\n    tags: [a]\n"
    two = f"{one}  - name: e\n    entrypoint: a.py:f\n"
    assert fixed(two) == two


def test_keeps_a_byte_order_mark() -> None:
    assert fixed("\ufeffprefect_version: '3'\n") == "\ufeffprefect-version: '3'\n"


def test_an_anchor_is_edited_if_all_of_its_uses_agree() -> None:
    text = (
        "x-pool: &pool {name: p, queue: q}\n"
        "deployments:\n"
        "- {name: d, entrypoint: 'a.py:f', work_pool: *pool}\n"
        "- {name: e, entrypoint: 'a.py:f', work_pool: *pool}\n"
    )
    assert fixed(text) == text.replace("queue:", "work_queue_name:")


def test_an_anchor_with_another_use_is_left_alone() -> None:
    text = (
        "deployments:\n- {name: d, entrypoint: 'a.py:f', version: &v 1.10, parameters: {v: *v}}\n"
    )
    assert fixed(text) == text


def test_a_key_that_a_merge_brings_is_not_moved() -> None:
    text = (
        "x-base: &base\n  job_variables: {a: b}\n"
        "deployments:\n- <<: *base\n  name: d\n  entrypoint: a.py:f\n"
    )
    assert fixed(text) == text


def test_a_fix_that_breaks_its_promise_is_left_out_and_others_are_applied() -> None:
    found = parse_document("a: &x 1\nb: *x\nc: 2\n", "prefect.yaml", Report())
    assert found is not None
    fixes: list[Fix] = [SetText(("a",), "1"), SetText(("c",), "2")]
    assert apply_fixes(found, fixes) == ('a: &x 1\nb: *x\nc: "2"\n', [fixes[1]])


def test_promised_values() -> None:
    before = {"a": [None, {"b": 1}, None], "c": 2}
    fixes: list[Fix] = [Remove(("a", 0)), Remove(("a", 2)), MoveKey(("a", 1, "b"), ("d", 0, "e"))]
    assert promised(before, fixes) == {"a": [{}], "c": 2, "d": [{"e": 1}]}


def test_writes_a_file_with_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text("prefect_version: '3'\n")
    path.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    found = fix_file(link, {})
    assert found is not None
    assert found.diff()[2:] == ["@@ -1 +1 @@", "-prefect_version: '3'", "+prefect-version: '3'"]
    found.write()
    assert path.read_text() == "prefect-version: '3'\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link.yaml", "prefect.yaml"]


RIGHT = [
    "description: a text # text",
    "tags: [a, b]",
    "tags:\n- a # one\n# two\n- b",
    "parameters:\n  # first\n  day: 1\n\n  script: |\n    # no comment\n    x",
    "concurrency_limit: {limit: 2}",
]
WRONG = [
    "entry_point: a.py:g",
    "version: 3.10 # number",
    "job_variables:\n  # jobs\n  image: {{ build.image }} # built\n  env: {A: '1'}",
    "work_queue_name: q",
    "timezone: UTC # zone",
    "cron: */5 * * * * # often",
    "work_pool:\n  name: p\n  queue: q # queue",
    "work_pool: p # pool",
    "schedules:\n  - cron: 0 1 * * *\n    time_zone: UTC # zone\n  -",
    "paramters: {a: 1}",
    "enforce_parameter_schema: true\nenforce_parameter_schema: true # twice",
]


@st.composite
def files(draw: st.DrawFn) -> str:
    lines = ["# head", "name: p", "deployments:"]
    indent = draw(st.sampled_from(["", "  "]))
    for index in range(draw(st.integers(1, 3))):
        parts = draw(st.lists(st.sampled_from([*RIGHT, *WRONG]), unique=True, max_size=5))
        first = f"name: d{index}\nentrypoint: a.py:f"
        body = "\n".join(draw(st.permutations([first, *parts])))
        lines.append(indent + "- " + textwrap.indent(body, f"{indent}  ").lstrip())
        lines += draw(st.sampled_from([[], [""], ["", "# between", ""]]))
    return "\n".join(lines) + draw(st.sampled_from(["", "\n"]))


def comments(text: str) -> list[str]:
    return sorted(line[line.index("#") :] for line in text.splitlines() if "#" in line)


@settings(max_examples=150, deadline=None)
@given(files())
def test_comments_survive_and_a_second_fix_changes_nothing(text: str) -> None:
    once = fixed(text)
    assert comments(once) == comments(text)
    assert fixed(once) == once
    unchanged = [line for line in text.splitlines() if line.lstrip().startswith("description")]
    assert all(line in once.splitlines() for line in unchanged)


@settings(max_examples=150, deadline=None)
@given(files())
def test_a_fixed_file_means_the_same_apart_from_its_fixes(text: str) -> None:
    document, found = check(text)
    if document is None:
        return
    changed, applied = apply_fixes(document, [each.fix for each in found if each.fix])
    assert data(changed) == promised(document.data, applied)
