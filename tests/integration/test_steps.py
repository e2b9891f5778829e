"""Build and push steps that build no image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import Cli
from tests.support.project import write_project
from tests.support.project_harness import ProjectHarness, entry, errors

SHELL = "prefect.deployments.steps.run_shell_script"


def test_function_of_the_project_is_a_step(project: ProjectHarness) -> None:
    (project.folder / "tools.py").write_text(
        "def named(prefix, count):\n    print('hi')\n    return {'name': prefix * count}\n"
    )
    step = {"tools.named": {"id": "own", "prefix": "a", "count": 3}}
    project.write([entry(description="{{ own.name }} {{ name }}")], build=[step])
    assert project.ops() == {"create": 1}
    project.deploy()
    assert project.live()["description"] == "aaa aaa"


@pytest.mark.parametrize("installed", ["prefect3_python", "prefect2_python"])
def test_functions_of_prefect_run_with_the_projects_prefect(
    installed: str, request: pytest.FixtureRequest, cli: Cli, tmp_path: Path
) -> None:
    python: Path = request.getfixturevalue(installed)
    stored, project = tmp_path / "stored", tmp_path / "project"
    stored.mkdir()
    write_project(project, "")
    pull = {"url": stored.as_uri(), "id": "pulled"}
    build = [{"prefect.deployments.steps.pull_from_remote_storage": pull}]
    (project / "prefect.yaml").write_text(json.dumps({"deployments": [entry()], "build": build}))
    env = {"VIRTUAL_ENV": str(python.parent.parent)}
    ended = cli("build", "--output", "json", cwd=project, **env)
    assert ended.code == 0, ended.stdout + ended.stderr
    folder = json.loads(ended.stdout)["outputs"]["hello/daily"]["pulled"]["directory"]
    assert folder == str(stored).lstrip("/")
    assert (project / folder).is_dir()


def test_invalid_steps_are_reported_before_any_runs(project: ProjectHarness) -> None:
    scripts = ["touch ran", "echo {{ nothing.gives.this }}"]
    project.write([entry()], build=[{SHELL: {"script": script}} for script in scripts])
    output = project.run("build", code=1)
    assert [problem["code"] for problem in errors(output)] == ["DC303"]
    assert not (project.folder / "ran").exists()


def test_secret_printed_by_a_step_is_not_stored_in_plain_text(project: ProjectHarness) -> None:
    project.api.call("POST", "/block_types/install_system_block_types")
    kind = project.api.call("GET", "/block_types/slug/secret")["id"]
    expected = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
    (schema, *_) = project.api.call("POST", "/block_schemas/filter", expected)
    block = {"name": "step-tok", "data": {"value": "opensesame"}, "block_type_id": kind}
    project.api.call("POST", "/block_documents/", {**block, "block_schema_id": schema["id"]})
    secret = "echo {{ prefect.blocks.secret.step-tok }} of {{ a.stdout }}"
    scripts = [{"id": "a", "script": "echo me"}, {"id": "b", "script": secret}]
    build = [{SHELL: each} for each in scripts]

    project.write([entry(tags=["{{ a.stdout }}"])], build=build)
    project.deploy()
    assert project.live()["tags"] == ["me"]
    pool = {"name": "pool", "job_variables": {"env": {"T": "{{ b.stdout }}"}}}
    project.write([entry(tags=["a {{ b.stdout }}"], work_pool=pool)], build=build)
    output = project.deploy(code=1)
    assert [(each["code"], bool(each["span"])) for each in errors(output)] == [("DC342", True)] * 2
    assert "opensesame" not in json.dumps(output)
    assert project.proxy.writes == []
