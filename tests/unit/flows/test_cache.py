"""The cache of imported flows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployctl.flows.cache import FlowCache
from deployctl.flows.importer import Interpreter, LoadFailure, LoadResult
from deployctl.flows.metadata import FlowMetadata

PYTHON = Interpreter("/venv/bin/python", ["3.8.8", "/venv/lib", 1])
METADATA = FlowMetadata(
    "etl", None, "1", {"title": "Parameters", "properties": {"a": {"default": "ä"}}}
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "etl.py").write_text("import config")
    (tmp_path / "config.yaml").write_text("x: 1")
    return tmp_path


@pytest.fixture
def result(project: Path) -> LoadResult:
    return LoadResult(METADATA, None, (str(project / "etl.py"), str(project / "config.yaml")))


@pytest.fixture
def cache(project: Path, result: LoadResult) -> FlowCache:
    cache = FlowCache(project / "cache", PYTHON)
    cache.put("etl.py:run", project, result)
    return cache


def test_returns_unchanged_flow(cache: FlowCache, project: Path) -> None:
    assert cache.get("etl.py:run", project) == METADATA


@pytest.mark.parametrize("name", ["etl.py", "config.yaml"])
def test_changed_or_deleted_file_invalidates_entry(
    cache: FlowCache, project: Path, name: str
) -> None:
    text = (project / name).read_text()
    (project / name).write_text(text + " ")
    assert cache.get("etl.py:run", project) is None
    (project / name).unlink()
    assert cache.get("etl.py:run", project) is None
    (project / name).write_text(text)
    assert cache.get("etl.py:run", project) == METADATA


def test_entry_is_for_one_interpreter_entrypoint_and_folder(
    cache: FlowCache, project: Path
) -> None:
    newer = replace(PYTHON, identity=["3.8.8", "/venv/lib", 2])
    assert FlowCache(project / "cache", newer).get("etl.py:run", project) is None
    assert cache.get("etl.py:other", project) is None
    assert cache.get("etl.py:run", project / "below") is None


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"metadata": {}, "files": {}}', "\0"])
def test_damaged_entry_counts_as_missing(cache: FlowCache, project: Path, damage: str) -> None:
    [entry] = (project / "cache" / "flows").iterdir()
    entry.write_text(damage)
    assert cache.get("etl.py:run", project) is None


@pytest.mark.parametrize("source", ["os.environ['A']", "from os import getenv"])
def test_does_not_store_flow_that_reads_environment(
    project: Path, result: LoadResult, source: str
) -> None:
    (project / "etl.py").write_text(source)
    cache = FlowCache(project / "other", PYTHON)
    cache.put("etl.py:run", project, result)
    assert cache.get("etl.py:run", project) is None


def test_does_not_store_flow_that_loaded_in_part(project: Path, result: LoadResult) -> None:
    failure = LoadFailure(("ScriptError",), "no module", None, None)
    cache = FlowCache(project / "other", PYTHON)
    cache.put("etl.py:run", project, replace(result, failure=failure))
    assert cache.get("etl.py:run", project) is None


def test_unwritable_folder_is_not_an_error(project: Path, result: LoadResult) -> None:
    (project / "file").touch()
    cache = FlowCache(project / "file", PYTHON)
    cache.put("etl.py:run", project, result)
    assert cache.get("etl.py:run", project) is None
