"""Which interpreter loads flows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deployctl.flows.imported import find_interpreter

WITH_PREFECT = """#!/bin/sh
echo '["3.8.8", "/lib", 1]'
"""
WITHOUT_PREFECT = """#!/bin/sh
exit 1
"""


def make_python(file: Path, text: str = WITH_PREFECT) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return str(file)


@pytest.fixture(autouse=True)
def no_prefect_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", make_python(tmp_path / "own" / "python", "#!/bin/sh\n"))


def test_the_first_interpreter_with_prefect_is_taken(tmp_path: Path) -> None:
    project, active, path = tmp_path / "project", tmp_path / "active", tmp_path / "path"
    project.mkdir()
    environ = {"VIRTUAL_ENV": str(active), "PATH": str(path)}

    def found() -> str | None:
        interpreter = find_interpreter(project, environ)
        return interpreter.path if interpreter else None

    assert found() is None
    on_path = make_python(path / "python3")
    assert found() == on_path
    in_active = make_python(active / "bin" / "python")
    assert found() == in_active
    own = make_python(project / ".venv" / "bin" / "python")
    assert found() == own
    make_python(project / ".venv" / "bin" / "python", WITHOUT_PREFECT)
    assert found() == in_active


def test_a_named_interpreter_is_the_only_one(tmp_path: Path) -> None:
    make_python(tmp_path / ".venv" / "bin" / "python")
    named = make_python(tmp_path / "named", WITHOUT_PREFECT)
    assert find_interpreter(tmp_path, {}, named) is None
    assert find_interpreter(tmp_path, {}, "/nowhere/python") is None


def test_a_relative_path_starts_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = make_python(tmp_path / "here" / "python")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path)
    found = find_interpreter(tmp_path / "project", {}, "here/python")
    assert found is not None
    assert (found.path, found.identity) == (python, ["3.8.8", "/lib", 1])
