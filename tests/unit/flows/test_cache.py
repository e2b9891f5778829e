"""What loading a flow told is remembered until something it depends on changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployctl.flows.cache import FlowCache
from deployctl.flows.importer import Interpreter, LoadFailure, LoadResult
from deployctl.flows.metadata import FlowMetadata

PYTHON = Interpreter("/venv/bin/python", ["3.8.8", "/venv/lib", 1])
FACTS = FlowMetadata(
    "etl", None, "1", {"title": "Parameters", "properties": {"a": {"default": "ä"}}}
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "etl.py").write_text("import config")
    (tmp_path / "config.yaml").write_text("x: 1")
    return tmp_path


@pytest.fixture
def loaded(project: Path) -> LoadResult:
    return LoadResult(FACTS, None, (str(project / "etl.py"), str(project / "config.yaml")))


@pytest.fixture
def cache(project: Path, loaded: LoadResult) -> FlowCache:
    cache = FlowCache(project / "cache", PYTHON)
    cache.put("etl.py:run", project, loaded)
    return cache


def test_an_unchanged_flow_is_remembered(cache: FlowCache, project: Path) -> None:
    assert cache.get("etl.py:run", project) == FACTS


@pytest.mark.parametrize("name", ["etl.py", "config.yaml"])
def test_a_changed_or_lost_file_forgets_it(cache: FlowCache, project: Path, name: str) -> None:
    text = (project / name).read_text()
    (project / name).write_text(text + " ")
    assert cache.get("etl.py:run", project) is None
    (project / name).unlink()
    assert cache.get("etl.py:run", project) is None
    (project / name).write_text(text)
    assert cache.get("etl.py:run", project) == FACTS


def test_another_interpreter_entrypoint_or_folder_knows_nothing(
    cache: FlowCache, project: Path
) -> None:
    newer = replace(PYTHON, identity=["3.8.8", "/venv/lib", 2])
    assert FlowCache(project / "cache", newer).get("etl.py:run", project) is None
    assert cache.get("etl.py:other", project) is None
    assert cache.get("etl.py:run", project / "below") is None


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"facts": {}, "files": {}}', "\0"])
def test_a_damaged_entry_is_none(cache: FlowCache, project: Path, damage: str) -> None:
    [entry] = (project / "cache" / "flows").iterdir()
    entry.write_text(damage)
    assert cache.get("etl.py:run", project) is None


@pytest.mark.parametrize("source", ["os.environ['A']", "from os import getenv"])
def test_a_flow_that_reads_the_environment_is_not_remembered(
    project: Path, loaded: LoadResult, source: str
) -> None:
    (project / "etl.py").write_text(source)
    cache = FlowCache(project / "other", PYTHON)
    cache.put("etl.py:run", project, loaded)
    assert cache.get("etl.py:run", project) is None


def test_a_flow_that_loaded_in_part_is_not_remembered(project: Path, loaded: LoadResult) -> None:
    failure = LoadFailure(("ScriptError",), "no module", None, None)
    cache = FlowCache(project / "other", PYTHON)
    cache.put("etl.py:run", project, replace(loaded, failure=failure))
    assert cache.get("etl.py:run", project) is None


def test_a_folder_that_cannot_be_written_is_no_error(project: Path, loaded: LoadResult) -> None:
    (project / "file").touch()
    cache = FlowCache(project / "file", PYTHON)
    cache.put("etl.py:run", project, loaded)
    assert cache.get("etl.py:run", project) is None
