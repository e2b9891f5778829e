"""The GitHub action and the GitLab component, run step by step as their runners do.

Without the installation, which needs a package index: the tests' environment has deployctl.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.environment import isolated
from tests.support.project_harness import ProjectHarness, entry

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
_, RUN = ACTION["runs"]["steps"]
INSTALLED = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
"""An environment in which deployctl is installed."""


def run_step(
    step: Any, folder: Path, env: Mapping[str, str], **inputs: str
) -> subprocess.CompletedProcess[str]:
    """Runs a step of the action in bash, with the defaults of inputs that are not given."""
    values = {
        **{f"inputs.{name}": each["default"] for name, each in ACTION["inputs"].items()},
        **{f"inputs.{name}": value for name, value in inputs.items()},
        "github.action_path": str(ROOT),
    }

    def filled(text: str) -> str:
        """The text with its expressions replaced."""
        return re.sub(r"\$\{\{ (\S+) \}\}", lambda found: values[found[1]], text)

    files = {name: str(folder / name) for name in ("GITHUB_PATH", "GITHUB_OUTPUT")}
    step_env = {name: filled(value) for name, value in step.get("env", {}).items()}
    script = folder / "step.sh"
    script.write_text(step["run"])
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
        cwd=folder / filled(step.get("working-directory", ".")),
        env={**isolated(folder), "RUNNER_TEMP": str(folder), **files, **env, **step_env},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def outputs(folder: Path) -> str:
    """What the steps wrote to their outputs."""
    file = folder / "GITHUB_OUTPUT"
    return file.read_text() if file.exists() else ""


def test_action_plans_and_deploys(project: ProjectHarness) -> None:
    env = {**INSTALLED, "PREFECT_API_URL": project.api_url}
    folder = project.folder
    project.write([entry(), entry(name="it's; touch pwned")])
    planned = run_step(RUN, folder, env)
    assert (planned.returncode, outputs(folder)) == (0, "changes=true\n"), planned.stderr
    assert "Plan: 2 to create" in planned.stdout
    only = '''-n "it's; touch pwned"'''
    deployed = run_step(RUN, folder, env, command="deploy", arguments=only)
    assert deployed.returncode == 0, deployed.stderr
    assert [each["name"] for each in project.api.call("POST", "/deployments/filter", {})] == [
        "it's; touch pwned"
    ]
    assert not (folder / "pwned").exists()
    run_step(RUN, folder, env, arguments=only)
    assert outputs(folder) == "changes=true\nchanges=false\n"


@pytest.mark.parametrize(
    ("command", "arguments"), [("plan", "--all --nonsense"), ("validate", ""), ("deploy", "$(id)")]
)
def test_action_fails_where_the_command_fails(tmp_path: Path, command: str, arguments: str) -> None:
    done = run_step(RUN, tmp_path, INSTALLED, command=command, arguments=arguments)
    assert done.returncode not in (0, 2)
    assert "uid=" not in done.stdout + done.stderr
    assert outputs(tmp_path) == ""


def test_component_plans_and_deploys(project: ProjectHarness) -> None:
    text = (ROOT / "templates" / "deployctl.yml").read_text()
    spec, jobs_text = text.split("\n---\n")
    given = {"package": "deployctl", **{k: v["default"] for k, v in _inputs(spec).items()}}
    filled = re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda found: given[found[1]], jobs_text)
    jobs = yaml.safe_load(filled)
    project.write([entry()])
    env = {**isolated(project.folder), **INSTALLED, "PREFECT_API_URL": project.api_url}
    for job in ("deployctl-plan", "deployctl-deploy"):
        script = "\n".join(jobs[job]["script"])
        subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script], cwd=project.folder, env=env, check=True
        )
    report = json.loads((project.folder / "gl-code-quality-report.json").read_text())
    assert report == []
    assert "deployment hello/daily" in (project.folder / "plan.html").read_text()
    assert project.live()["name"] == "daily"
    assert set(jobs["deployctl-plan"]["artifacts"]["paths"]) == {"plan.html"}


def _inputs(spec: str) -> Any:
    inputs = yaml.safe_load(spec)["spec"]["inputs"]
    return {name: each for name, each in inputs.items() if "default" in each}
