"""The formats of CI systems: SARIF, JUnit XML, GitLab code quality, GitHub's summary."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from deployctl.cli.output import in_workspace
from deployctl.cli.render import CommandReport, github, gitlab, junit, sarif
from deployctl.core.diagnostics import Diagnostic, Severity, Span
from deployctl.core.errors import Rejected
from deployctl.core.json_values import Json
from deployctl.core.redact import MASK
from deployctl.deploy.model import Change, Op, Result, ResultStatus

SPAN = Span("flows/a b.yaml", 2, 3, 2, 7)
WARNING = Diagnostic("DC120", Severity.WARNING, "unknown key 'naem'", SPAN, "Rename it.")
ERROR = Diagnostic("DC404", Severity.ERROR, "no 'x' < \x1b \x00", SPAN, related=((SPAN, "here"),))
NOTE = Diagnostic("DC666", Severity.NOTE, "no logs at https://u:hunter22@host/")
FAILED = Result(
    Change("deployment", ("f", "d"), Op.UPDATE), ResultStatus.FAILED, Rejected("the server says no")
)
SKIPPED = Result(
    Change("deployment", ("f", "e"), Op.CREATE), ResultStatus.SKIPPED, reason="stopped"
)
APPLIED = Result(Change("deployment", ("f", "g"), Op.CREATE), ResultStatus.APPLIED)
REPORT = CommandReport(
    "deploy",
    (WARNING, ERROR, NOTE),
    {"flows/a b.yaml": ""},
    results=(FAILED, SKIPPED, APPLIED),
)
EMPTY = CommandReport("validate", sources={"prefect.yaml": ""})


def strict(properties: Json, *required: str) -> Json:
    """The schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT = {"type": "string", "minLength": 1}
POSITION = {"type": "integer", "minimum": 1}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
MESSAGE = strict({"text": TEXT, "markdown": TEXT}, "text")
REGION = strict(
    dict.fromkeys(("startLine", "startColumn", "endLine", "endColumn"), POSITION), "startLine"
)
PHYSICAL = strict(
    {
        "artifactLocation": strict({"uri": {"type": "string", "pattern": r"^[^ ]+$"}}, "uri"),
        "region": REGION,
    },
    "artifactLocation",
)
LOCATION = strict({"physicalLocation": PHYSICAL, "message": MESSAGE}, "physicalLocation")
RULE = strict(
    {
        "id": TEXT,
        "shortDescription": MESSAGE,
        "help": MESSAGE,
        "defaultConfiguration": strict({"level": LEVEL}),
    },
    "id",
)
RESULT = strict(
    {
        "ruleId": TEXT,
        "ruleIndex": {"type": "integer", "minimum": 0},
        "level": LEVEL,
        "message": MESSAGE,
        "locations": {"type": "array", "items": LOCATION, "minItems": 1},
        "relatedLocations": {"type": "array", "items": LOCATION},
    },
    "message",
)
DRIVER = strict(
    {"name": TEXT, "semanticVersion": TEXT, "rules": {"type": "array", "items": RULE}}, "name"
)
RUN = strict(
    {
        "tool": strict({"driver": DRIVER}, "driver"),
        "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
        "results": {"type": "array", "items": RESULT},
    },
    "tool",
)
SARIF = strict(
    {"$schema": TEXT, "version": {"const": "2.1.0"}, "runs": {"type": "array", "items": RUN}},
    "version",
    "runs",
)
"""The part of the SARIF 2.1.0 schema that deployctl uses, without other properties."""


@pytest.mark.parametrize("report", [REPORT, EMPTY], ids=["findings", "none"])
def test_sarif_has_the_structure_of_its_schema(report: CommandReport) -> None:
    document = json.loads(sarif.render(report))
    jsonschema.validate(document, SARIF)
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[item["ruleIndex"]]["id"] == item["ruleId"] for item in run["results"])


def test_sarif_has_levels_positions_and_failed_changes() -> None:
    results = json.loads(sarif.render(REPORT))["runs"][0]["results"]
    assert [(item["ruleId"], item["level"]) for item in results] == [
        ("DC120", "warning"),
        ("DC404", "error"),
        ("DC666", "note"),
        ("DC015", "error"),
    ]
    first = results[0]["locations"][0]["physicalLocation"]
    assert first["artifactLocation"]["uri"] == "flows/a%20b.yaml"
    assert first["region"] == {"startLine": 2, "startColumn": 3, "endLine": 2, "endColumn": 7}
    assert "f/d: the server says no" in results[3]["message"]["text"]


def test_junit_is_xml_with_failures_and_skips() -> None:
    root = ElementTree.fromstring(junit.render(REPORT))
    cases = list(root.iter("testcase"))
    assert root.attrib == {"name": "deployctl", "tests": "6", "failures": "2", "errors": "0"}
    failures = [case.find("failure") for case in cases]
    assert [None if each is None else each.get("type") for each in failures] == [
        *(None, "DC404", None),
        *("DC015", None, None),
    ]
    assert [case.find("skipped") is not None for case in cases] == [False] * 4 + [True, False]
    assert (cases[1].get("file"), cases[1].get("line")) == ("flows/a b.yaml", "2")


def test_junit_without_findings_has_one_passing_case() -> None:
    root = ElementTree.fromstring(junit.render(EMPTY))
    (case,) = root.iter("testcase")
    assert (case.attrib, list(case)) == ({"classname": "prefect.yaml", "name": "validate"}, [])


def test_warnings_fail_in_junit_if_they_fail_the_command() -> None:
    report = CommandReport("validate", (WARNING, NOTE), strict=True)
    root = ElementTree.fromstring(junit.render(report))
    assert root.get("failures") == "1"


def test_gitlab_has_the_required_keys_and_distinct_fingerprints() -> None:
    entries = json.loads(gitlab.render(CommandReport("plan", (WARNING, WARNING, ERROR, NOTE))))
    assert len({entry["fingerprint"] for entry in entries}) == 4
    assert [entry["severity"] for entry in entries] == ["minor", "minor", "critical", "info"]
    assert entries[0] == {
        "description": "unknown key 'naem'. Rename it.",
        "check_name": "DC120",
        "fingerprint": entries[0]["fingerprint"],
        "severity": "minor",
        "location": {"path": "flows/a b.yaml", "lines": {"begin": 2}},
    }
    assert json.loads(gitlab.render(EMPTY)) == []


def test_fingerprints_survive_a_move_to_another_line() -> None:
    moved = Diagnostic("DC120", Severity.WARNING, WARNING.message, Span(SPAN.file, 9, 1, 9, 2))
    first, second = (
        json.loads(gitlab.render(CommandReport("plan", (item,))))[0] for item in (WARNING, moved)
    )
    assert first["fingerprint"] == second["fingerprint"]


@pytest.mark.parametrize("render", [sarif.render, junit.render, gitlab.render, github.summary])
def test_no_format_shows_a_secret(render: Json) -> None:
    shown = render(REPORT)
    assert "hunter22" not in shown
    assert MASK in shown.replace("\\", "")


def test_summary_lists_findings_without_a_plan() -> None:
    shown = github.summary(CommandReport("validate", (ERROR,), subject="1 deployment"))
    assert shown.startswith("### deployctl validate: 1 deployment\n\n- **error** DC404 `flows/a b")
    assert "\\<" in shown


@pytest.mark.parametrize("variable", ["GITHUB_WORKSPACE", "CI_PROJECT_DIR", None])
def test_files_are_relative_to_the_checkout(
    variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pipelines"
    folder.mkdir()
    monkeypatch.chdir(folder)
    spans = [Span(file, 1, 1, 1, 2) for file in ("a.yaml", str(folder / "a.yaml"), "/etc/b.yaml")]
    found = tuple(
        Diagnostic("DC120", Severity.WARNING, "m", span, related=((span, "t"),)) for span in spans
    )
    environ = {variable: str(tmp_path)} if variable else {}
    moved = in_workspace(CommandReport("plan", found, {"a.yaml": "x"}), environ)
    name = "pipelines/a.yaml" if variable else "a.yaml"
    files = [item.span.file for item in moved.diagnostics if item.span]
    assert files == [name, name, "/etc/b.yaml"]
    assert [item.related[0][0].file for item in moved.diagnostics] == files
    assert moved.sources == {name: "x"}


def run_validate(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`deployctl validate` in a folder, without a terminal."""
    program = "from deployctl.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "validate", *arguments],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    (tmp_path / "flows.py").write_text("def f(): ...\n")
    text = "deployments:\n- name: a\n  entrypoint: flows.py:g\n"
    (tmp_path / "prefect.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize("format_", ["sarif", "junit", "gitlab", "json"])
def test_stdout_is_one_document_also_if_the_command_fails(broken: Path, format_: str) -> None:
    done = run_validate(broken, "--output", format_)
    assert done.returncode == 1
    if format_ == "junit":
        ElementTree.fromstring(done.stdout)
    else:
        assert "DC4" in json.dumps(json.loads(done.stdout))


def test_a_failed_validate_writes_a_job_summary(broken: Path) -> None:
    summary = broken / "summary.md"
    run_validate(broken, "--output", "github", GITHUB_STEP_SUMMARY=str(summary))
    assert "**error** DC4" in summary.read_text()


def test_forced_colour_moves_no_cursor_without_a_terminal(broken: Path) -> None:
    done = run_validate(broken, FORCE_COLOR="1", TTY_COMPATIBLE="1", TTY_INTERACTIVE="1", CI="")
    assert "\x1b[1;31m" in done.stderr
    sequences = {part[: part.find("m") + 1] for part in done.stderr.split("\x1b[")[1:]}
    assert all(each.rstrip("m").replace(";", "").isdigit() for each in sequences)


def test_progress_is_live_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from deployctl.cli.console import ProgressReporter, terminal_width

    leader, follower = pty.openpty()
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert terminal_width()
        monkeypatch.setenv("CI", "true")
        assert terminal_width() is None
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert ProgressReporter(quiet=False)._status is None
    os.close(leader)
