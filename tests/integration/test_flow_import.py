"""Flows that must be imported by the project's own interpreter."""

from __future__ import annotations

import hashlib
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deployctl.core.diagnostics import Report, Severity
from deployctl.flows.importer import LoadResult, Task, load_flows
from deployctl.flows.inspect import inspect_flows
from deployctl.flows.metadata import FlowMetadata

MODEL = """
import sys
from pydantic import BaseModel
from prefect import flow
from helper import HELP

print("noise on stdout")
print("noise on stderr", file=sys.stderr)
open("data.txt").read()

class Model(BaseModel):
    x: int = 1

@flow(description=HELP)
def f(m: Model): ...

def plain(m: Model): ...
plain = plain
"""
HEAD = "from prefect import flow\nfrom pydantic import BaseModel\nclass M(BaseModel): ...\n"
FLOW = "@flow\ndef f(m: M): ...\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    files = {
        "model.py": MODEL,
        "helper.py": "HELP = 'one'\n",
        "data.txt": "x",
        "missing.py": f"{HEAD}import gone_library\n{FLOW}",
        "module.py": f"{HEAD}import gone_library\n{FLOW}",
        "broken.py": "def f(:\n",
        "raises.py": f"{HEAD}def fail():\n    raise RuntimeError('no luck')\nfail()\n{FLOW}",
        "exits.py": f"{HEAD}import sys\nsys.exit('bye')\n{FLOW}",
        "dies.py": f"{HEAD}import os\nos._exit(7)\n{FLOW}",
        "hangs.py": f"{HEAD}import time\ntime.sleep(60)\n{FLOW}",
        "one/etl.py": f"{HEAD}from side import NAME\nf = flow(name=NAME + '')(lambda m: m)\n",
        "one/side.py": "NAME = 'first'\n",
        "two/etl.py": f"{HEAD}from side import NAME\nf = flow(name=NAME + '')(lambda m: m)\n",
        "two/side.py": "NAME = 'second'\n",
    }
    for name, text in files.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text)
    return project


@pytest.fixture(params=["3.x", "stand-in"])
def python(request: pytest.FixtureRequest, prefect3_python: Path) -> Path:
    """An interpreter with Prefect, and ours, which has pydantic."""
    return prefect3_python if request.param == "3.x" else Path(sys.executable)


def inspect(
    project: Path, python: Path, *texts: str
) -> tuple[dict[str, FlowMetadata], list[tuple[str, Severity, str]]]:
    report = Report()
    entrypoints = dict.fromkeys(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIRTUAL_ENV", str(python.parent.parent))
        metadata = inspect_flows(entrypoints, project, report)
    return metadata, [(item.code, item.severity, item.message) for item in report]


def test_child_sees_the_arguments_of_prefects_engine(
    project: Path, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://server.example/api")
    source = (
        f"{HEAD}import os, sys, pathlib\nassert not sys.stdin.read()\n"
        "seen = [sys.argv, [each for each in sys.path if 'deployctl-' in each or each == '']]\n"
        "@flow(name=sys.argv[0], description=repr(seen))\n"
        "def f(m: M, url: str = os.environ['PREFECT_API_URL']): ...\n"
    )
    (project / "argv.py").write_text(source)
    metadata, found = inspect(project, python, "argv.py:f")
    assert found == []
    flow = metadata["argv.py:f"]
    assert (flow.name, flow.description) == ("prefect.engine", "[['prefect.engine'], []]")
    assert flow.parameter_schema["properties"]["url"]["default"] == "http://server.example/api"


def test_child_does_not_reach_the_server(
    project: Path, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/api"
        monkeypatch.setenv("PREFECT_API_URL", url)
        source = f"{HEAD}from prefect.variables import Variable\nLIMIT = Variable.get('x')\n{FLOW}"
        (project / "variable.py").write_text(source)
        metadata, [(code, severity, _)] = inspect(project, python, "variable.py:f")
        with suppress(TimeoutError):
            received.append(server.accept())
    assert (code, severity, received) == ("DC410", Severity.WARNING, [])
    assert metadata["variable.py:f"].parameter_schema["definitions"]["M"]


def test_reads_model_by_import(project: Path, python: Path) -> None:
    texts = ("model.py:f", "model:f", "model.f")
    metadata, found = inspect(project, python, *texts)
    assert found == []
    for text in texts:
        assert metadata[text].description == "one"
        assert metadata[text].parameter_schema["definitions"]["Model"]["properties"] == {
            "x": {"default": 1, "title": "X", "type": "integer"}
        }


def test_modules_of_same_name_do_not_interfere(project: Path, python: Path) -> None:
    metadata, _ = inspect(project, python, "one/etl.py:f", "two/etl.py:f")
    assert [each.name for each in metadata.values()] == ["first", "second"]


def test_caches_flow_until_an_import_changes(
    project: Path, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[object] = []

    def load(*args: Any) -> dict[Task, LoadResult]:
        loads.append(args)
        return load_flows(*args)

    monkeypatch.setattr("deployctl.flows.inspect.load_flows", load)
    first, _ = inspect(project, python, "model.py:f")
    again, _ = inspect(project, python, "model.py:f")
    assert (again, len(loads)) == (first, 1)
    (project / "helper.py").write_text("HELP = 'two'\n")
    changed, _ = inspect(project, python, "model.py:f")
    assert (changed["model.py:f"].description, len(loads)) == ("two", 2)


def test_reports_why_flow_cannot_be_loaded(project: Path, prefect3_python: Path) -> None:
    reasons = {
        "model.py:plain": ("DC405", "'plain' in 'model.py' is not a flow"),
        "broken.py:f": ("DC406", "'broken.py' is not valid Python"),
        "module:f": ("DC408", "No module named 'gone_library'"),
        "no_such_module.x:f": ("DC408", "No module named 'no_such_module'"),
        "raises.py:f": ("DC410", f"RuntimeError: no luck ({project}/raises.py:5)"),
        "raises:f": ("DC408", f"RuntimeError: no luck ({project}/raises.py:5)"),
        "exits.py:f": ("DC408", "SystemExit: bye"),
        "dies.py:f": ("DC409", "the interpreter exited with code 7"),
    }
    _, found = inspect(project, prefect3_python, *reasons)
    assert [code for code, _, _ in found] == [code for code, _ in reasons.values()]
    for (_, _, message), (_, reason) in zip(found, reasons.values(), strict=True):
        assert reason in message


def test_missing_library_loses_types_only(project: Path, python: Path) -> None:
    metadata, [(code, severity, message)] = inspect(project, python, "missing.py:f")
    assert (code, severity) == ("DC410", Severity.WARNING)
    assert "No module named 'gone_library'" in message
    content = (project / "missing.py").read_bytes()
    assert metadata["missing.py:f"].version == hashlib.md5(content).hexdigest()


def test_crash_keeps_results_of_earlier_flows(project: Path, python: Path) -> None:
    metadata, found = inspect(project, python, "model.py:f", "dies.py:f", "one/etl.py:f")
    assert list(metadata) == ["model.py:f"]
    assert [code for code, _, _ in found] == ["DC409", "DC409"]
    assert found[1][2].endswith("at 'dies.py:f'")


def test_loading_times_out(project: Path, python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployctl.flows.inspect.LOAD_TIMEOUT", 2)
    metadata, [(code, _, message)] = inspect(project, python, "hangs.py:f")
    assert (metadata, code) == ({}, "DC409")
    assert "took longer than 2 seconds" in message


def test_loads_flow_with_prefect_2(project: Path, prefect2_python: Path) -> None:
    metadata, found = inspect(project, prefect2_python, "model.py:f")
    assert found == []
    assert metadata["model.py:f"].parameter_schema["required"] == ["m"]


def test_failures_without_prefect_leave_what_the_text_tells(project: Path) -> None:
    reasons = {
        "model.py:plain": ("DC405", Severity.ERROR, "'plain' in 'model.py' is not a flow"),
        "module:f": ("DC410", Severity.WARNING, "No module named 'gone_library'"),
        "raises.py:f": ("DC410", Severity.WARNING, f"no luck ({project}/raises.py:5)"),
        "raises:f": ("DC410", Severity.WARNING, f"no luck ({project}/raises.py:5)"),
        "exits.py:f": ("DC408", Severity.ERROR, "SystemExit: bye"),
        "dies.py:f": ("DC409", Severity.ERROR, "the interpreter exited with code 7"),
    }
    metadata, found = inspect(project, Path(sys.executable), *reasons)
    for (code, severity, message), expected in zip(found, reasons.values(), strict=True):
        assert (code, severity) == expected[:2]
        assert expected[2] in message
    assert list(metadata) == ["module:f", "raises.py:f", "raises:f"]
