"""Shell completion of names and codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployctl.cli import completion
from deployctl.core.catalogue import CATALOGUE

PROGRAM = "from deployctl.cli.main import main; main()"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a project, and no server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    (tmp_path / "prefect.yaml").write_text(
        "work_pools: [{name: kube}]\n"
        "deployments: [{name: daily}, {name: dry}, {name: '{{ $X }}'}, text, {name: 3}]\n"
    )
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_deployments_of_the_file() -> None:
    assert completion.declared_deployments("d") == ["daily", "dry"]
    assert completion.declared_deployments("dr") == ["dry"]


@pytest.mark.usefixtures("folder")
def test_without_a_server_the_file_completes_deployments_and_pools() -> None:
    assert completion.existing_deployments("da") == ["daily"]
    assert completion.work_pools("") == ["kube"]


def test_work_pools_of_a_mapping(folder: Path) -> None:
    (folder / "prefect.yaml").write_text("work_pools: {kube: {type: docker}, '{{ $X }}': {}}")
    assert completion.work_pools("") == ["kube"]


@pytest.mark.parametrize("text", ["a: [", "[]", "deployments: {a: b}", "deployments: 3"])
def test_a_broken_file_completes_nothing(folder: Path, text: str) -> None:
    (folder / "prefect.yaml").write_text(text)
    assert completion.declared_deployments("") == []
    (folder / "prefect.yaml").unlink()
    assert completion.declared_deployments("") == []


def test_codes_complete_with_and_without_their_letters() -> None:
    assert ("DC404", CATALOGUE["DC404"].title) in completion.codes("dc40")
    assert ("404", CATALOGUE["DC404"].title) in completion.codes("40")
    assert len(completion.codes("")) == len(CATALOGUE)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("explain DC40", "DC404"),
        ("deploy -n da", "daily"),
        ("worker --pool k", "kube"),
        ("dev --run dr", "dry"),
    ],
)
def test_bash_gets_the_completions(line: str, expected: str) -> None:
    words = f"deployctl {line}"
    environ = {
        "_DEPLOYCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    assert expected in done.stdout.split()
