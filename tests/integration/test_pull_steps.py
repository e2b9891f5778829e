"""Pull steps: what is stored of them, and which references the server is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.project_harness import ProjectHarness, entry

CLONE = "prefect.deployments.steps.git_clone"
TWO = [entry(name="daily"), entry(name="hourly")]


def clone(**inputs: Any) -> list[Any]:
    return [{CLONE: {"repository": "https://git.test/r.git", **inputs}}]


@pytest.fixture
def secret(project: ProjectHarness) -> Iterator[str]:
    """The name of a Secret block on the server."""
    api = project.api
    api.call("POST", "/block_types/install_system_block_types")
    type_id = api.call("GET", "/block_types/slug/secret")["id"]
    where = {"block_schemas": {"block_type_id": {"any_": [type_id]}}}
    schema = api.call("POST", "/block_schemas/filter", where)[0]["id"]
    block = {"name": "git-token", "data": {"value": "opensesame-of-pull-steps"}}
    made = api.call(
        "POST",
        "/block_documents/",
        {**block, "block_type_id": type_id, "block_schema_id": schema},
    )
    yield "git-token"
    api.call("DELETE", f"/block_documents/{made['id']}")


def test_block_that_exists_gives_no_diagnostic(project: ProjectHarness, secret: str) -> None:
    token = f"{{{{ prefect.blocks.secret.{secret} }}}}"
    project.write(TWO, pull=clone(access_token=token))
    assert project.deploy()["diagnostics"] == []
    assert project.live()["pull_steps"] == clone(access_token=token)
    assert project.ops() == {}


def test_missing_block_is_reported_once_at_its_line(project: ProjectHarness) -> None:
    text = """
        pull:
          - prefect.deployments.steps.git_clone:
              repository: https://git.test/r.git
              access_token: "{{ prefect.blocks.secret.gone }}"
        deployments:
          - {name: daily, entrypoint: "flows.py:hello", work_pool: {name: pool}}
          - {name: hourly, entrypoint: "flows.py:hello", work_pool: {name: pool}}
    """
    project.write_text(text)
    (found,) = project.deploy()["diagnostics"]
    assert (found["code"], found["severity"], found["span"]["line"]) == ("DC304", "warning", 4)


def test_set_variables_are_stored_and_others_left_to_the_run(project: ProjectHarness) -> None:
    project.write(
        TWO, pull=clone(commit_sha="{{ $GITHUB_SHA }}", clone_directory_name="{{ $HOST_NAME }}")
    )
    project.deploy(env={"GITHUB_SHA": "0123abc"})
    stored = clone(commit_sha="0123abc", clone_directory_name="{{ $HOST_NAME }}")
    assert project.live()["pull_steps"] == project.live("hourly")["pull_steps"] == stored


def test_credential_is_stored_with_a_warning_and_never_shown(project: ProjectHarness) -> None:
    project.write(TWO, pull=clone(access_token="{{ $GH }}"))
    output = project.deploy(env={"GH": "opensesame-in-the-environment"})
    (found,) = output["diagnostics"]
    assert (found["code"], found["severity"]) == ("DC307", "warning")
    assert "opensesame" not in str(output)
    (step,) = project.live()["pull_steps"]
    assert step[CLONE]["access_token"] == "opensesame-in-the-environment"
