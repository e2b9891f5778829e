"""Fixes of a file: each keeps comments and layout, and changes no more than it says."""

from __future__ import annotations

import subprocess
import textwrap
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployctl.app.deploying.fix import fix_file, without_impossible_fixes
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
    pytest.param(
        "parameters: {on: a, ~: b, 1_0: c} # why",
        'parameters: {"on": a, "~": b, "1_0": c} # why',
        id="keys that YAML does not read as text",
    ),
    pytest.param(
        "parameters:\n  on: a\n  yes: a",
        None,
        id="two keys that YAML reads as one",
    ),
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


def test_a_key_of_an_anchor_is_quoted_for_all_of_its_uses() -> None:
    text = (
        "x-env: &env {ON: a}\n"
        "deployments:\n"
        "- {name: d, entrypoint: 'a.py:f', parameters: {env: *env, more: {<<: *env, off: 1}}}\n"
    )
    assert fixed(text) == text.replace("ON", '"ON"').replace("off", '"off"')


def test_a_fix_that_breaks_its_promise_is_left_out_and_others_are_applied() -> None:
    found = parse_document("a: &x 1\nb: *x\nc: 2\n", "prefect.yaml", Report())
    assert found is not None
    fixes: list[Fix] = [SetText(("a",), "1"), SetText(("c",), "2")]
    assert apply_fixes(found, fixes) == ('a: &x 1\nb: *x\nc: "2"\n', [fixes[1]])


def test_promised_values() -> None:
    before = parse_document("a: [null, {b: 1}, null]\nc: 2", "prefect.yaml", Report())
    assert before is not None
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


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_applying_the_diff_gives_the_fixed_file(tmp_path: Path, newline: str, end: str) -> None:
    path = tmp_path / "prefect.yaml"
    text = f"# a b\nprefect_version: '3'\nname: 1.10{end}".replace("\n", newline)
    path.write_bytes(text.encode())
    found = fix_file(path, {})
    assert found is not None
    patch = "\n".join(found.diff()).replace(str(path), path.name) + "\n"
    command = ["git", "apply", "-p0", "--whitespace=nowarn", "-"]
    subprocess.run(command, cwd=tmp_path, input=patch.encode(), check=True)
    assert path.read_bytes().decode() == found.after
    assert found.after.split(newline)[1:] == [
        "prefect-version: '3'",
        'name: "1.10"',
        *[""][: len(end)],
    ]


def test_work_pools_are_fixed_in_a_list_and_in_a_mapping() -> None:
    queue = "{nam: q, description: 1.10}"
    entry = f"{{description: d, typ: process, is_paused: true, work_queues: [{queue}]}}"
    right = (
        '{description: d, type: process, paused: true, queues: [{name: q, description: "1.10"}]}'
    )
    assert fixed(f"work_pools:\n  p: {entry} # p\n") == f"work_pools:\n  p: {right} # p\n"
    listed = f"work_pools:\n- {entry} # p\n".replace("{", "{name: p, ", 1)
    assert fixed(listed) == f"work_pools:\n- {right} # p\n".replace("{", "{name: p, ", 1)


def test_a_fix_that_is_impossible_is_not_promised() -> None:
    text = (
        "x-base: &base\n  job_variables: {a: b}\n"
        "deployments:\n- <<: *base\n  name: d\n  entrypoint: a.py:f\n  tag: [x]\n"
    )
    report = Report(list(check(text)[1]))
    without_impossible_fixes(text, Path("prefect.yaml"), report)
    assert {each.message.split()[0]: each.fix is not None for each in report} == {
        "'job_variables'": False,
        "'tag'": True,
    }


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


POOLS = [
    "work_pools:\n  p:\n    # pool\n    typ: process # typ\n    is_paused: true",
    "work_pools:\n- name: p # pool\n  type: process\n  work_queues:\n  - nam: q # queue",
    "work_pools: {p: {type: process, description: 1.10}} # flow",
]


@st.composite
def files(draw: st.DrawFn, *, anchors: bool = True) -> str:
    """Files with mistakes, comments, anchors, and any line ends, marks and indentation."""
    lines = [
        draw(st.sampled_from(["# head", "#\ttab\tin it", "\n# after an empty line"])),
        "name: p",
    ]
    lines += draw(st.lists(st.sampled_from(POOLS), max_size=1))
    shared = anchors and draw(st.booleans())
    if shared:
        lines += ["x-shared: &shared # anchor", "    version: 3.10 # shared", "    tag: [a]"]
    lines.append("deployments:")
    indent = draw(st.sampled_from(["", "  ", "     "]))
    dash = draw(st.sampled_from(["- ", "-   "]))
    for index in range(draw(st.integers(1, 3))):
        parts = draw(st.lists(st.sampled_from([*RIGHT, *WRONG]), unique=True, max_size=5))
        if shared and not any(part.startswith("version") for part in parts):
            parts.append("<<: *shared")
        first = f"name: d{index}\nentrypoint: a.py:f #\ttab"
        body = "\n".join(draw(st.permutations([first, *parts])))
        lines.append(indent + dash + textwrap.indent(body, indent + " " * len(dash)).lstrip())
        lines += draw(st.sampled_from([[], [""], ["", "# between", ""]]))
    text = "\n".join(lines) + draw(st.sampled_from(["", "\n"]))
    newline, mark = draw(st.sampled_from(["\n", "\r\n"])), draw(st.sampled_from(["", "\ufeff"]))
    return mark + text.replace("\n", newline)


def comments(text: str) -> list[str]:
    return sorted(line[line.index("#") :] for line in text.splitlines() if "#" in line)


@settings(max_examples=80, deadline=None)
@given(files())
def test_comments_survive_and_a_second_fix_changes_nothing(text: str) -> None:
    once = fixed(text)
    assert comments(once) == comments(text)
    assert fixed(once) == once
    for part in (RIGHT[0], RIGHT[4]):
        assert once.count(part) == text.count(part)
    assert once.startswith("\ufeff") == text.startswith("\ufeff")
    assert once.count("\r\n") in (0, once.count("\n"))
    assert ("\r\n" in once) == ("\r\n" in text)


@settings(max_examples=60, deadline=None)
@given(files(anchors=False))
def test_what_was_fixed_is_not_reported_again(text: str) -> None:
    if check(text)[0] is None:
        return
    once, fixes = fix_text(text, check)
    before, applied, left = (
        Counter((each.code, each.message) for each in found)
        for found in (check(text)[1], fixes, check(once)[1])
    )
    for finding, count in applied.items():
        assert left[finding] + count <= max(before[finding], count)


@settings(max_examples=80, deadline=None)
@given(files())
def test_a_fixed_file_means_the_same_apart_from_its_fixes(text: str) -> None:
    document, found = check(text)
    if document is None:
        return
    changed, applied = apply_fixes(document, [each.fix for each in found if each.fix])
    expected = promised(document, applied)
    assert data(changed) | {"x-shared": None} == expected | {"x-shared": None}
