"""What is wrong with an entrypoint is said at its place, with the way out."""

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
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without files, and no Python with Prefect."""
    monkeypatch.setattr("deployctl.flows.inspect.find_interpreter", lambda *_: None)
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
    (folder / "broken.py").write_text("def f(:\n")
    return folder


def look(folder: Path, text: str) -> tuple[dict[str, FlowMetadata], list[Diagnostic]]:
    report = Report()
    facts = inspect_flows({text: SPAN}, folder, report)
    assert all(item.span == SPAN for item in report)
    return facts, list(report)


@pytest.mark.parametrize("text", ["flows.py:hello", "./flows.py:hello", "pkg.mod:hello"])
def test_a_flow_beside_prefect_yaml_is_found(project: Path, text: str) -> None:
    facts, found = look(project, text)
    assert facts[text].name == "hello"
    assert found == []


def test_the_working_directory_comes_first(project: Path) -> None:
    Path("flows.py").write_text(FLOW.replace("@flow", "@flow(name='nearer')"))
    facts, _ = look(project, "flows.py:hello")
    assert facts["flows.py:hello"].name == "nearer"


def test_an_absolute_path_is_read_with_a_warning(project: Path) -> None:
    text = f"{project}/flows.py:hello"
    facts, [warning] = look(project, text)
    assert facts[text].name == "hello"
    assert (warning.code, warning.severity) == ("DC402", Severity.WARNING)


@pytest.mark.parametrize(
    ("text", "code", "message", "help_"),
    [
        ("flows.py", "DC401", "'flows.py' is no entrypoint: it does not say", "write 'path"),
        ("flow.py:hello", "DC403", "there is no file 'flow.py'", "Did you mean 'flows.py'?"),
        ("gone/etl.py:run", "DC403", "there is no file 'gone/etl.py'", "paths start in '"),
        ("flows.py:helo", "DC404", "'flows.py' has no 'helo'", "Did you mean 'hello'?"),
        ("plain.py:run", "DC404", "'plain.py' has no 'run'", "it has 'extract'"),
        ("plain.py:extract", "DC405", "'extract' in 'plain.py' is not a flow", "put '@flow'"),
        ("model.py:f", "DC407", "what the type 'Model' takes", "install Prefect"),
        ("library.mod:f", "DC407", "'library.mod' is not among the project's files", "install"),
    ],
)
def test_what_is_wrong_is_an_error_with_a_way_out(
    project: Path, text: str, code: str, message: str, help_: str
) -> None:
    facts, [error] = look(project, text)
    assert facts == {}
    assert (error.code, error.severity) == (code, Severity.ERROR)
    assert message in error.message
    assert (error.help or "").startswith(help_)


def test_a_syntax_error_counts_if_no_other_python_can_say_more(project: Path) -> None:
    _, [error] = look(project, "broken.py:f")
    assert error.code == "DC406"
    assert "broken.py:1: " in error.message


def test_a_file_is_parsed_once_for_all_its_flows(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    facts = inspect_flows(dict.fromkeys(f"many.py:{name}" for name in names), project, report)
    assert [fact.name for fact in facts.values()] == names
    assert parsed == [str(project / "many.py")]
