"""`validate --fix` and `--diff`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.in_process import run_in_process

WRONG = "deployments:\n- name: d\n  entrypoint: a.py:f  # flow\n  tag: [a]\n  colour: red\n"
RIGHT = WRONG.replace("tag:", "tags:")
ENV = {"HOME": "/nonexistent"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.py").write_text("from prefect import flow\n\n@flow\ndef f() -> None: ...\n")
    (tmp_path / "prefect.yaml").write_text(WRONG)
    return tmp_path


def test_diff_shows_the_fixes_and_changes_nothing(folder: Path) -> None:
    done = run_in_process(["validate", "--diff"], cwd=folder, env=ENV)
    assert done.code == 0
    assert "\n-  tag: [a]\n+  tags: [a]\n" in done.stdout
    assert "`deployctl validate --fix` corrects 1 of them" in done.stderr
    assert (folder / "prefect.yaml").read_text() == WRONG


def test_fix_writes_the_file_and_reports_what_is_left(folder: Path) -> None:
    done = run_in_process(["validate", "--fix", "--output", "json"], cwd=folder, env=ENV)
    assert done.code == 0
    found = json.loads(done.stdout)
    assert [(each["code"], each["fixable"]) for each in found["diagnostics"]] == [("DC120", False)]
    assert [(each["code"], each["file"]) for each in found["fixes"]] == [("DC120", "prefect.yaml")]
    assert (folder / "prefect.yaml").read_text() == RIGHT


def test_a_diff_masks_secrets(folder: Path) -> None:
    (folder / "prefect.yaml").write_text(f"{WRONG}  parameters: {{password: 'hunter22'}}\n")
    done = run_in_process(["validate", "--diff"], cwd=folder, env=ENV)
    assert "hunter22" not in done.stdout + done.stderr


def test_a_selection_cannot_be_fixed_alone(folder: Path) -> None:
    done = run_in_process(["validate", "--fix", "-n", "d"], cwd=folder, env=ENV)
    assert done.code == 64
    assert (folder / "prefect.yaml").read_text() == WRONG
