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


MISTAKES = """\
build:
- prefect.deployments.steps.run_shell_script:
    id: commit
    script: git rev-parse HEAD
    steam_output: false # quiet
deployments:
- name: d
  entrypoint: a.py:f
  parameters: {code: 007, ids: 7, many: 1}
  tags: ["{{ comit.stdout }}"]
  work_pool:
    name: p
    job_variables: {image: 5, env: {PORT: 8080, ON: "{{ x }}"}}
work_pools:
  p:
    type: process
    base_job_template:
      job_configuration: {image: "{{ image }}", env: "{{ env }}"}
      variables:
        properties:
          image: {type: string, default: 1.10}
          env: {type: object, additionalProperties: {type: string}}
"""
FLOW = """\
from prefect import flow

@flow
def f(code: str | None = None, ids: str | list[int] = "", many: list[str] = ()) -> None: ...
"""


def test_fixes_what_the_code_the_steps_and_the_templates_of_pools_say(folder: Path) -> None:
    (folder / "prefect.yaml").write_text(MISTAKES)
    (folder / "a.py").write_text(FLOW)
    done = run_in_process(["validate", "--fix", "--output", "json"], cwd=folder, env=ENV)
    fixed = MISTAKES
    for before, after in (
        ("steam_", "stream_"),
        ("007", '"007"'),
        ("comit.", "commit."),
        ("image: 5", 'image: "5"'),
        ("8080", '"8080"'),
        ("ON:", '"ON":'),
        ("1.10", '"1.10"'),
    ):
        fixed = fixed.replace(before, after)
    assert (folder / "prefect.yaml").read_text() == fixed
    left = [(each["code"], each["fixable"]) for each in json.loads(done.stdout)["diagnostics"]]
    assert left == [("DC303", False)] * left.count(("DC303", False))


def test_an_unknown_name_is_shown_at_the_key(folder: Path) -> None:
    (folder / "prefect.yaml").write_text(MISTAKES.replace("many", "mani"))
    (folder / "a.py").write_text(FLOW)
    done = run_in_process(["validate", "--output", "json"], cwd=folder, env=ENV)
    (found,) = [each for each in json.loads(done.stdout)["diagnostics"] if each["code"] == "DC322"]
    assert (found["span"]["line"], found["span"]["column"]) == (5, 5)
