"""Flows in the shapes of real projects give the same without Prefect as with the real one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deployctl.core.diagnostics import Report, Severity
from deployctl.core.json_values import canonical_json
from deployctl.flows import inspect
from deployctl.flows.entrypoint import SearchPath
from deployctl.flows.importer import (
    Interpreter,
    LoadResult,
    Task,
    find_interpreter,
    find_prefect,
    load_flows,
)
from deployctl.flows.metadata import FlowMetadata
from tests.corpus import CorpusCase, read_corpus

pytestmark = pytest.mark.integration
CASES = read_corpus()
ENVIRON = {name: value for case in CASES for name, value in case.environ.items()}
EQUAL_AT_LEAST = 0.97


@dataclass
class Reading:
    """What was read of the corpus, by the name of the case."""

    metadata: dict[str, FlowMetadata] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project for each case."""
    folder = tmp_path_factory.mktemp("corpus")
    for case in CASES:
        case.write(folder / case.name)
        (folder / case.name / ".git").mkdir()
    return folder


def task(case: CorpusCase, folder: Path) -> Task:
    base = folder / case.name
    return Task(case.entrypoint, base, SearchPath.of(base, base).module_folders)


def load_all(python: Interpreter, folder: Path) -> dict[str, LoadResult]:
    """Loads all cases in one process, with the variables of all."""
    with variables(ENVIRON):
        loaded = load_flows(python, [task(case, folder) for case in CASES], timeout=300)
    return {case.name: loaded[task(case, folder)] for case in CASES}


@contextmanager
def variables(environ: Mapping[str, str]) -> Iterator[None]:
    """Sets variables of the environment for a while."""
    before = dict(os.environ)
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def expected(prefect3_python: Path, folder: Path) -> dict[str, LoadResult]:
    """What the real Prefect makes of each case."""
    interpreter = find_prefect(folder, {"VIRTUAL_ENV": str(prefect3_python.parent.parent)})
    assert interpreter is not None
    return load_all(interpreter, folder)


@pytest.fixture(scope="module")
def actual(folder: Path) -> Reading:
    """What deployctl reads with an interpreter that has pydantic, but not Prefect.

    Without `load_flows` as it is, each case would start a process of its own.
    """
    reading = Reading()
    environ = {"VIRTUAL_ENV": str(Path(sys.executable).parent.parent), "PATH": ""}
    stand_in = find_interpreter(folder, environ)
    assert stand_in is not None
    assert stand_in.prefect is None
    loaded = load_all(stand_in, folder)
    for case in CASES:
        base = folder / case.name
        report = Report()

        def load(_: Interpreter, tasks: list[Task], __: float) -> dict[Task, LoadResult]:
            reading.imported.add(case.name)  # noqa: B023
            return dict.fromkeys(tasks, loaded[case.name])  # noqa: B023

        with pytest.MonkeyPatch.context() as patch, variables(ENVIRON):
            patch.chdir(base)
            patch.setenv("XDG_CACHE_HOME", str(base / "cache"))
            patch.setattr(inspect, "find_interpreter", lambda *_: stand_in)
            patch.setattr(inspect, "find_newer_interpreter", lambda *_: None)
            patch.setattr(inspect, "has_newer_prefect", lambda *_: False)
            patch.setattr(inspect, "load_flows", load)
            found = inspect.inspect_flows(
                {case.entrypoint: None}, base, report, flow_names={case.entrypoint: "named"}
            )
        if case.entrypoint in found:
            reading.metadata[case.name] = found[case.entrypoint]
        reading.problems[case.name] = [f"{each.code} {each.message}" for each in report]
        if any(each.severity is Severity.ERROR for each in report):
            reading.metadata.pop(case.name, None)
    return reading


def test_every_flow_is_deployed(actual: Reading) -> None:
    missing = {case.name: actual.problems[case.name] for case in CASES}
    assert {name: found for name, found in missing.items() if name not in actual.metadata} == {}


def test_schemas_equal_those_of_prefect(
    expected: dict[str, LoadResult], actual: Reading, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = [name for name, result in expected.items() if result.metadata is not None]
    differing = {
        name: (seen(expected[name].metadata), seen(actual.metadata.get(name)))
        for name in compared
        if seen(expected[name].metadata) != seen(actual.metadata.get(name))
    }
    equal = len(compared) - len(differing)
    with capsys.disabled():
        print(
            f"\ncorpus: {len(CASES)} flows; deployed: {len(actual.metadata)}, "
            f"by Prefect: {len(compared)}; "
            f"read without an import: {len(CASES) - len(actual.imported)}; "
            f"schemas equal to Prefect's: {equal} of {len(compared)} ({equal / len(compared):.1%})"
        )
        for name, (real, ours) in differing.items():
            print(f"  {name}\n    Prefect: {real}\n    ours:    {ours}")
    assert equal / len(compared) >= EQUAL_AT_LEAST


def seen(metadata: FlowMetadata | None) -> str | None:
    """What users see of a flow: its name, description and schema."""
    if metadata is None:
        return None
    return canonical_json(
        [metadata.name, metadata.description or "", dict(metadata.parameter_schema)]
    )
