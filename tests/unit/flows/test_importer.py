"""The choice of the interpreter, and the results of the probe."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deployctl.flows.importer import (
    Interpreter,
    Task,
    find_interpreter,
    find_prefect,
    has_newer_prefect,
    load_flows,
    project_python,
)

PYTHON = sys.executable
WITH_PREFECT = """#!/bin/sh
echo '["3.8.8", "3.11", "/lib", 1, "2.12.0"]'
"""
WITH_PYDANTIC = """#!/bin/sh
echo '[null, "3.11", "/lib", 1, "2.12.0"]'
"""
WITH_PYDANTIC_1 = WITH_PYDANTIC.replace("2.12.0", "1.10.0")
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


def test_finds_first_interpreter_with_prefect(tmp_path: Path) -> None:
    project, active, path = tmp_path / "project", tmp_path / "active", tmp_path / "path"
    project.mkdir()
    environ = {"VIRTUAL_ENV": str(active), "PATH": str(path)}

    def found() -> str | None:
        interpreter = find_prefect(project, environ)
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


def test_falls_back_to_interpreter_with_pydantic(tmp_path: Path) -> None:
    environ = {"VIRTUAL_ENV": str(tmp_path / "active"), "PATH": str(tmp_path / "path")}

    def found() -> str | None:
        interpreter = find_interpreter(tmp_path, environ)
        return interpreter.path if interpreter else None

    make_python(tmp_path / ".venv" / "bin" / "python", WITH_PYDANTIC_1)
    assert found() is None
    on_path = make_python(tmp_path / "path" / "python3", WITH_PYDANTIC)
    assert found() == on_path
    in_active = make_python(tmp_path / "active" / "bin" / "python", WITH_PYDANTIC)
    assert found() == in_active
    assert find_prefect(tmp_path, environ) is None
    make_python(tmp_path / "path" / "python3")
    assert found() == on_path


@pytest.mark.parametrize(
    ("version", "newer"),
    [("2.20.27", False), ("3.9.6", False), ("3.10.0", True), ("4.0.0rc1", True), (None, False)],
)
def test_recognises_newer_prefect_by_its_files(
    tmp_path: Path, version: str | None, newer: bool
) -> None:
    python = Path(make_python(tmp_path / ".venv" / "bin" / "python", WITHOUT_PREFECT))
    if version:
        packages = python.parent.parent / "lib" / "python3.12" / "site-packages"
        (packages / f"prefect-{version}.dist-info").mkdir(parents=True)
    assert has_newer_prefect(tmp_path, {"PATH": ""}) == newer


def test_project_python_is_first_that_exists(tmp_path: Path) -> None:
    environ = {"VIRTUAL_ENV": str(tmp_path / "active"), "PATH": str(tmp_path / "path")}
    assert project_python(tmp_path, environ) == sys.executable
    for folder, name in [("path", "python3"), ("active/bin", "python"), (".venv/bin", "python")]:
        python = make_python(tmp_path / folder / name, WITHOUT_PREFECT)
        assert project_python(tmp_path, environ) == python


def test_ignores_truncated_result(tmp_path: Path) -> None:
    whole = {
        "files": [],
        "error": {"exception_types": [], "message": "", "location": 0},
    }
    cut = b'{"files": ["\xc3'
    (tmp_path / "results").write_bytes(json.dumps(whole).encode() + b"\n" + cut)
    read = "import json, sys; print(json.load(sys.stdin)['results'])"
    text = f'#!/bin/sh\ncat {tmp_path}/results > "$({PYTHON} -c "{read}")"\n'
    interpreter = Interpreter(make_python(tmp_path / "python", text), [])
    results = load_flows(interpreter, [Task("a.py:f", tmp_path), Task("b.py:f", tmp_path)], 30)
    messages = {
        task.entrypoint: each.failure and each.failure.message for task, each in results.items()
    }
    assert messages == {"a.py:f": "", "b.py:f": "the interpreter exited with code 0"}
