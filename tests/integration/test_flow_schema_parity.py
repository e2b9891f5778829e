"""Static reading of a flow gives the same metadata as Prefect, in both major versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from deployctl.core.json_values import canonical_json
from deployctl.flows.importer import LoadResult, Task, find_interpreter, load_flows
from deployctl.flows.metadata import FlowMetadata
from deployctl.flows.names import NotStatic
from deployctl.flows.static import Module, read_flow
from tests.support.flow_signatures import CASES, Case

NUMBERED = [pytest.param(number, case, id=case.name) for number, case in enumerate(CASES)]
NUMBERED_STATIC = [
    pytest.param(number, case, id=case.name) for number, case in enumerate(CASES) if case.static
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one module per case."""
    folder = tmp_path_factory.mktemp("signatures")
    for number, case in enumerate(CASES):
        (folder / f"case_{number}.py").write_text(case.source, encoding="utf-8")
    return folder


def load_all(python: Path, folder: Path) -> Mapping[str, LoadResult]:
    """Loads all cases with Prefect in one process."""
    interpreter = find_interpreter(folder, {"VIRTUAL_ENV": str(python.parent.parent)})
    assert interpreter is not None
    tasks = [Task(entrypoint(number, case), folder) for number, case in enumerate(CASES)]
    results = load_flows(interpreter, tasks, timeout=300)
    return {task.entrypoint: result for task, result in results.items()}


def entrypoint(number: int, case: Case) -> str:
    return f"case_{number}.py:{case.path}"


@pytest.fixture(scope="module")
def in_prefect_3(prefect3_python: Path, folder: Path) -> Mapping[str, LoadResult]:
    return load_all(prefect3_python, folder)


@pytest.fixture(scope="module")
def in_prefect_2(prefect2_python: Path, folder: Path) -> Mapping[str, LoadResult]:
    return load_all(prefect2_python, folder)


def read(folder: Path, number: int, case: Case) -> FlowMetadata | None:
    """Reads a case statically; None if that is not possible."""
    try:
        return read_flow(Module(folder / f"case_{number}.py"), case.path)
    except NotStatic:
        return None


@pytest.mark.parametrize(("number", "case"), NUMBERED)
def test_static_reading_equals_prefect_3(
    folder: Path, in_prefect_3: Mapping[str, LoadResult], number: int, case: Case
) -> None:
    real = in_prefect_3[entrypoint(number, case)]
    assert real.failure is None
    assert real.metadata is not None
    static = read(folder, number, case)
    assert (static is not None) == case.static
    if static is not None:
        assert canonical_json(static.parameter_schema) == canonical_json(
            real.metadata.parameter_schema
        )
        assert static == real.metadata


@pytest.mark.parametrize(("number", "case"), NUMBERED_STATIC)
def test_static_reading_equals_prefect_2(
    folder: Path, in_prefect_2: Mapping[str, LoadResult], number: int, case: Case
) -> None:
    real = in_prefect_2[entrypoint(number, case)].metadata
    static = read(folder, number, case)
    assert static is not None
    differs = real is None or canonical_json(static.parameter_schema) != canonical_json(
        without_decimal_pattern(real.parameter_schema)
    )
    assert differs == bool(case.prefect_2_differs)
    if real is not None:
        assert (static.name, static.description, static.version) == (
            real.name,
            real.description,
            real.version,
        )


def without_decimal_pattern(schema: Mapping[str, object]) -> object:
    """Removes the pattern that pydantic of 2.20 adds to a Decimal; see `FlowMetadata`."""

    def strip(value: object) -> object:
        if isinstance(value, list):
            return [strip(item) for item in value]
        if isinstance(value, dict):
            kept = {key: strip(item) for key, item in value.items()}
            if kept.get("type") == "string" and isinstance(kept.get("pattern"), str):
                del kept["pattern"]
            return kept
        return value

    return strip(schema)
