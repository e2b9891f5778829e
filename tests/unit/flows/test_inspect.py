"""Diagnostics of entrypoints."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from deployctl.core.diagnostics import Diagnostic, Report, Severity, Span
from deployctl.flows.inspect import inspect_flows
from deployctl.flows.metadata import FlowMetadata
from tests.support.project import FLOW

SPAN = Span("prefect.yaml", 3, 17, 3, 30)


@pytest.fixture(autouse=True)
def isolation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without files, and no Python with Prefect."""
    monkeypatch.setattr("deployctl.flows.inspect.find_interpreter", lambda *_: None)
    monkeypatch.setattr("deployctl.flows.inspect.find_newer_interpreter", lambda *_: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "pkg").mkdir(parents=True)
    (folder / "flows.py").write_text(FLOW)
    (folder / "pkg" / "mod.py").write_text(FLOW)
    (folder / "plain.py").write_text("def extract(): ...\n")
    (folder / "model.py").write_text(
        "from other import Model\nfrom prefect import flow\n@flow\ndef f(m: Model): ...\n"
    )
    (folder / "named.py").write_text(
        "import os\nfrom prefect import flow\n@flow(name=os.getcwd())\ndef f(a: int): ...\n"
    )
    (folder / "broken.py").write_text("def f(:\n")
    return folder


def inspect(folder: Path, text: str) -> tuple[dict[str, FlowMetadata], list[Diagnostic]]:
    report = Report()
    metadata = inspect_flows({text: SPAN}, folder, report)
    assert all(item.span == SPAN for item in report)
    return metadata, list(report)


@pytest.mark.parametrize("text", ["flows.py:hello", "./flows.py:hello", "pkg.mod:hello"])
def test_finds_flow_beside_prefect_yaml(project: Path, text: str) -> None:
    metadata, found = inspect(project, text)
    assert metadata[text].name == "hello"
    assert found == []


def test_searches_working_directory_first(project: Path) -> None:
    Path("flows.py").write_text(FLOW.replace("@flow", "@flow(name='nearer')"))
    metadata, _ = inspect(project, "flows.py:hello")
    assert metadata["flows.py:hello"].name == "nearer"


def test_warns_about_absolute_path(project: Path) -> None:
    text = f"{project}/flows.py:hello"
    metadata, [warning] = inspect(project, text)
    assert metadata[text].name == "hello"
    assert (warning.code, warning.severity) == ("DC402", Severity.WARNING)


@pytest.mark.parametrize(
    ("text", "code", "message", "help_"),
    [
        ("flows.py", "DC401", "'flows.py' is not an entrypoint: it does not name", "Write 'path"),
        ("flow.py:hello", "DC403", "there is no file 'flow.py'", "Did you mean 'flows.py'?"),
        ("gone/etl.py:run", "DC403", "there is no file 'gone/etl.py'", "Paths are relative to '"),
        ("flows.py:helo", "DC404", "'flows.py' has no 'helo'", "Did you mean 'hello'?"),
        ("plain.py:run", "DC404", "'plain.py' has no 'run'", "It has 'extract'"),
        (
            "plain.py:extract",
            "DC405",
            "'extract' in 'plain.py' is not a flow",
            "Decorate the function",
        ),
        (
            "named.py:f",
            "DC407",
            "the value of 'os.getcwd()' is",
            "Write the flow's name",
        ),
        ("library.mod:f", "DC407", "'library.mod' is not among the project's", "Write the flow's"),
    ],
)
def test_invalid_entrypoint_is_an_error_with_help(
    project: Path, text: str, code: str, message: str, help_: str
) -> None:
    metadata, [error] = inspect(project, text)
    assert metadata == {}
    assert (error.code, error.severity) == (code, Severity.ERROR)
    assert message in error.message
    assert (error.help or "").startswith(help_)


def test_unknown_parameter_is_a_warning_that_names_it(project: Path) -> None:
    metadata, [warning] = inspect(project, "model.py:f")
    assert metadata["model.py:f"].parameter_schema == {
        "title": "Parameters",
        "type": "object",
        "properties": {"m": {"position": 0, "title": "m"}},
        "required": ["m"],
    }
    assert (warning.code, warning.severity) == ("DC410", Severity.WARNING)
    assert warning.message.startswith("the schema of parameter 'm' of 'model.py:f' is open: ")


@pytest.mark.parametrize("text", ["named.py:f", "library.mod:f"])
def test_name_from_file_settles_unknown_name(project: Path, text: str) -> None:
    report = Report()
    metadata = inspect_flows({text: SPAN}, project, report, flow_names={text: "etl"})
    assert metadata[text].name == "etl"
    [warning] = report
    assert (warning.code, warning.severity) == ("DC410", Severity.WARNING)


def test_name_from_file_does_not_replace_name_in_code(project: Path) -> None:
    text = "flows.py:hello"
    metadata = inspect_flows({text: SPAN}, project, Report(), flow_names={text: "other"})
    assert metadata[text].name == "hello"


def test_reading_without_imports_starts_no_child(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("deployctl.flows.inspect.load_flows", lambda *_: pytest.fail("imported"))
    report = Report()
    metadata = inspect_flows({"model.py:f": SPAN}, project, report, imports=False)
    assert metadata["model.py:f"].name == "f"
    assert not list(report)


def test_syntax_error_without_other_interpreter(project: Path) -> None:
    _, [error] = inspect(project, "broken.py:f")
    assert error.code == "DC406"
    assert "broken.py:1: " in error.message
    assert error.help


def test_parses_file_once_for_all_its_flows(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    parse = ast.parse

    def count(source: bytes, name: str) -> ast.Module:
        parsed.append(name)
        return parse(source, name)

    monkeypatch.setattr(ast, "parse", count)
    names = [f"f{number}" for number in range(10)]
    flows = "".join(f"@flow\ndef {name}(a: int): ...\n" for name in names)
    (project / "many.py").write_text(f"from prefect import flow\n{flows}")
    report = Report()
    metadata = inspect_flows(dict.fromkeys(f"many.py:{name}" for name in names), project, report)
    assert [each.name for each in metadata.values()] == names
    assert parsed == [str(project / "many.py")]
