"""Which entries of a file are selected, and which problems of theirs are reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployctl.app.deploying.load import LoadOptions
from deployctl.core.diagnostics import Severity
from deployctl.core.errors import UsageError
from deployctl.project.selection import Selection
from tests.unit.app.deploying.loading import ALL, findings, load

VALID = "  - {name: daily, entrypoint: 'flows.py:hello', work_pool: {name: p}}\n"
BROKEN = {
    "entrypoint is misspelt": ("{name: weekly, entrypont: 'flows.py:hello'}", ["DC127", "DC120"]),
    "name is misspelt": ("{nane: weekly, entrypoint: 'flows.py:hello'}", ["DC127", "DC120"]),
    "entry is a text": ("weekly", ["DC128"]),
    "entry is a list": ("[{name: weekly}]", ["DC128"]),
    "entry is a number": ("3", ["DC128"]),
    "entry is an empty mapping": ("{}", ["DC127", "DC127"]),
    "entrypoint is null": ("{name: weekly, entrypoint: null}", ["DC127"]),
    "entrypoint is empty": ("{name: weekly, entrypoint: ''}", ["DC127"]),
    "entrypoint is a list": ("{name: weekly, entrypoint: ['flows.py:hello']}", ["DC128"]),
    "entrypoint is a mapping": ("{name: weekly, entrypoint: {a: b}}", ["DC128"]),
    "name is absent": ("{entrypoint: 'flows.py:hello'}", ["DC127"]),
    "name is null": ("{name: null, entrypoint: 'flows.py:hello'}", ["DC127"]),
    "name is empty": ("{name: '', entrypoint: 'flows.py:hello'}", ["DC127"]),
    "name is a list": ("{name: [weekly], entrypoint: 'flows.py:hello'}", ["DC128"]),
    "file is missing": ("{name: weekly, entrypoint: 'flow.py:hello'}", ["DC403"]),
    "function is missing": ("{name: weekly, entrypoint: 'flows.py:helo'}", ["DC404"]),
}


def named(*names: str) -> LoadOptions:
    return LoadOptions(Selection(names=names))


@pytest.mark.parametrize("valid_first", [True, False])
@pytest.mark.parametrize(("entry", "codes"), BROKEN.values(), ids=BROKEN)
def test_all_includes_a_broken_entry(
    tmp_path: Path, entry: str, codes: list[str], valid_first: bool
) -> None:
    broken = f"  - {entry}\n"
    entries = VALID + broken if valid_first else broken + VALID
    _, report = load(tmp_path, f"deployments:\n{entries}")
    line = 3 if valid_first else 2
    assert sorted(findings(report)) == sorted((code, line) for code in codes)
    assert report.errors


@pytest.mark.parametrize(("entry", "codes"), BROKEN.values(), ids=BROKEN)
def test_another_name_leaves_a_broken_entry_out(
    tmp_path: Path, entry: str, codes: list[str]
) -> None:
    assert codes
    loaded, report = load(tmp_path, f"deployments:\n{VALID}  - {entry}\n", named("daily"))
    assert loaded is not None
    assert [each.name for each in loaded.selected] == ["hello/daily"]
    assert not report.items
    assert not loaded.selects_all


@pytest.mark.parametrize("pattern", ["weekly", "week*", "*", "hello/*", "hello/weekly"])
@pytest.mark.parametrize("entry", ["{name: weekly}", "{name: weekly, entrypoint: 'flow.py:x'}"])
def test_a_name_or_pattern_selects_a_broken_entry(tmp_path: Path, pattern: str, entry: str) -> None:
    _, report = load(tmp_path, f"deployments:\n{VALID}  - {entry}\n", named(pattern))
    assert [line for _, line in findings(report, Severity.ERROR)] == [3]


def test_an_exact_name_of_a_known_flow_selects_only_that_flow(tmp_path: Path) -> None:
    text = f"deployments:\n{VALID}  - {{name: daily, entrypoint: 'gone.py:other'}}\n"
    loaded, report = load(tmp_path, text, named("hello/daily"))
    assert loaded is not None
    assert not report.items


def test_a_misspelt_name_key_explains_why_a_name_is_not_found(tmp_path: Path) -> None:
    text = f"deployments:\n{VALID}  - {{nane: weekly, entrypoint: 'flows.py:hello'}}\n"
    loaded, report = load(tmp_path, text, named("weekly"))
    assert loaded is None
    assert findings(report, Severity.ERROR) == [("DC127", 3)]


def test_two_entries_need_a_selection_also_if_one_is_broken(tmp_path: Path) -> None:
    _, report = load(tmp_path, f"deployments:\n{VALID}  - {{name: weekly}}\n", LoadOptions())
    assert findings(report) == [("DC127", 3)]
    with pytest.raises(UsageError, match="2 deployments"):
        load(tmp_path, f"deployments:\n{VALID}{VALID.replace('daily', 'b')}", LoadOptions())


def test_reports_a_broken_entrypoint_that_two_entries_share(tmp_path: Path) -> None:
    """At the selected entry, whichever of them it is."""
    entries = "".join(f"  - {{name: {name}, entrypoint: 'gone.py:f'}}\n" for name in "ab")
    for selected, line in (("a", 2), ("b", 3), ("*", 2)):
        _, report = load(tmp_path, f"deployments:\n{entries}", named(selected))
        assert findings(report) == [("DC403", line)]


def test_reports_a_problem_of_a_value_that_another_entry_declares(tmp_path: Path) -> None:
    """The anchor is in an entry that is not selected."""
    text = """
        deployments:
          - {name: a, entrypoint: "flows.py:hello", schedules: &times [{cron: bad}]}
          - {name: b, entrypoint: "flows.py:hello", schedules: *times}
          - {name: c, entrypoint: "flows.py:hello"}
    """
    for selected, expected in (("b", [("DC201", 2)]), ("c", [])):
        _, report = load(tmp_path, text, named(selected))
        assert findings(report) == expected


def test_reports_duplicates_only_among_selected_entries(tmp_path: Path) -> None:
    text = f"deployments:\n{VALID}{VALID}{VALID.replace('daily', 'other')}"
    for selected, expected in (("daily", [("DC129", 3)]), ("other", [])):
        _, report = load(tmp_path, text, named(selected))
        assert findings(report) == expected


PULL = """
    pull:
      - prefect.deployments.steps.git_clone: {id: clone, repository: "https://git.test/r"}
      - prefect.deployments.steps.set_working_directory: {directory: "{{ clones.directory }}"}
    deployments:
      - {name: a, entrypoint: "flows.py:hello"}
      - {name: b, entrypoint: "flows.py:hello"}
      - name: c
        entrypoint: flows.py:hello
        pull:
          - prefect.deployments.steps.git_clone:
              access_token: "{{ $TOKEN }}"
"""


def test_pull_steps_are_checked_once_at_their_own_lines(tmp_path: Path) -> None:
    _, report = load(tmp_path, PULL, environ={"TOKEN": "opensesame"})
    assert findings(report) == [("DC330", 3), ("DC307", 11), ("DC322", 10)]


def test_inherited_pull_steps_have_the_spans_of_the_file(tmp_path: Path) -> None:
    text = PULL.replace("clones", "clone").replace('access_token: "{{ $TOKEN }}"', "repository: r")
    loaded, report = load(tmp_path, text)
    assert loaded is not None
    assert not report.items
    lines = [
        each.spec.span(("pull", 0, "prefect.deployments.steps.git_clone", "repository"))
        for each in loaded.selected
    ]
    assert [span.line for span in lines if span] == [2, 2, 11]


def test_malformed_placeholders_of_the_files_own_steps_are_reported(tmp_path: Path) -> None:
    text = f"build: [{{m.f: {{x: '{{{{ a | b }}}}'}}}}]\ndeployments:\n{VALID}"
    _, report = load(tmp_path, text)
    assert findings(report) == [("DC301", 1)]


def test_offline_checks_need_no_environment(tmp_path: Path) -> None:
    text = """
        name: "{{ $PROJECT }}"
        build: [{prefect.deployments.steps.run_shell_script: {script: "echo {{ $BUILD }}"}}]
        pull: [{prefect.deployments.steps.set_working_directory: {directory: "{{ $RUN }}"}}]
        deployments:
          - name: "{{ $NAME }}"
            entrypoint: "{{ $FILE }}:hello"
          - name: b
            entrypoint: flows.py:hello
            concurrency_limit: "{{ $LIMIT }}"
            work_pool: {name: "{{ $POOL }}"}
    """
    _, report = load(tmp_path, text, replace(ALL, offline=True))
    assert findings(report, Severity.WARNING) == [("DC302", n) for n in (1, 2, 5, 6, 9, 10)]
    assert not report.errors
    _, report = load(tmp_path, text)
    assert findings(report, Severity.ERROR) == [("DC302", n) for n in (1, 5, 6, 9, 10)]


@pytest.mark.parametrize(("entry", "codes"), BROKEN.values(), ids=BROKEN)
def test_keep_going_leaves_broken_entries_out(tmp_path: Path, entry: str, codes: list[str]) -> None:
    text = f"deployments:\n{VALID}  - {entry}\n"
    loaded, report = load(tmp_path, text, replace(ALL, keep_going=True))
    assert loaded is not None
    assert [each.name for each in loaded.selected] == ["hello/daily"]
    assert loaded.leaves_out
    assert sorted(code for code, _ in findings(report)) == sorted(codes)
    assert report.errors
    assert report.blocking == 0


@pytest.mark.parametrize(
    "entry",
    [
        "{name: b, entrypoint: 'flows.py:hello', schedules: [{cron: bad}]}",
        "{name: b, entrypoint: 'flows.py:hello', pull: [{prefect.deployments.steps.git_clne: {}}]}",
        "{name: b, entrypoint: 'flows.py:hello', tags: ['{{ nothing }}']}",
        "{name: b, entrypoint: 'flows.py:hello'}\n  - {name: b, entrypoint: 'flows.py:hello'}",
    ],
)
def test_keep_going_leaves_out_whatever_has_an_error(tmp_path: Path, entry: str) -> None:
    text = f"deployments:\n{VALID}  - {entry}\n"
    loaded, report = load(tmp_path, text, replace(ALL, keep_going=True))
    assert loaded is not None
    assert [each.name for each in loaded.selected] == ["hello/daily"]
    assert report.errors
    assert report.blocking == 0


def test_keep_going_stops_at_errors_outside_of_entries(tmp_path: Path) -> None:
    text = f"work_pools: [{{name: p}}]\ndeployments:\n{VALID}"
    _, report = load(tmp_path, text, replace(ALL, keep_going=True))
    assert report.blocking == 1
