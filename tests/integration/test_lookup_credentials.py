"""Lookups in a registry for which only the push step has credentials."""

from __future__ import annotations

import pytest

from tests.integration.test_build_command import PUSH, SHELL, image_entry, steps
from tests.support.docker_engine import DockerEngine
from tests.support.project_harness import ProjectHarness
from tests.support.registry import PASSWORD, USER, LocalRegistry

ENV = {"DEPLOYCTL_BUILDER": "assemble", "REGPW": PASSWORD}


@pytest.mark.parametrize(
    ("name", "password"), [("plain", "{{ $REGPW }}"), ("kept", "{{ prefect.variables.regpw }}")]
)
def test_image_is_found_with_the_credentials_of_the_push_step(
    project: ProjectHarness, closed_registry: LocalRegistry, name: str, password: str
) -> None:
    project.api.call("POST", "/variables/", {"name": "regpw", "value": PASSWORD})
    credentials = {"username": USER, "password": password, "registry_url": closed_registry.host}
    step_lists = steps(f"{closed_registry.host}/{name}/of-{project.major}")
    step_lists["push"][0][PUSH]["credentials"] = credentials
    (project.folder / "Dockerfile").write_text("FROM scratch\nCOPY *.py /\n")
    project.write([image_entry()], **step_lists)
    project.deploy(env=ENV)
    assert project.run("plan", "--all", env=ENV)["summary"]["none"] == 1
    assert [each["built"] for each in project.run("build", env=ENV)["images"]] == [False]


def test_plan_does_not_know_the_digest_of_an_unpushed_image(
    project: ProjectHarness, docker_engine: DockerEngine, registry: LocalRegistry
) -> None:
    """Also if the engine has the image."""
    env = {"DOCKER_HOST": docker_engine.url}
    step_lists = steps(f"{registry.host}/unpushed/of-{project.major}")
    (project.folder / "Dockerfile").write_text("FROM scratch\nCOPY *.py /\n")
    (project.folder / ".dockerignore").write_text("prefect.yaml\n")
    project.write([image_entry()], build=step_lists["build"])
    project.deploy(env=env)
    project.write([image_entry()], **step_lists)
    ((change,),) = (each["fields"] for each in project.run("plan", "--all", env=env)["changes"])
    assert change["new"]["image"] == {"unknown": "push.image"}
    project.deploy(env=env)
    assert project.run("plan", "--all", env=env)["summary"]["none"] == 1


def test_denied_lookup_is_reported(project: ProjectHarness, closed_registry: LocalRegistry) -> None:
    """The credentials come from a step that runs after the build."""
    step_lists = steps(f"{closed_registry.host}/late/of-{project.major}")
    credentials = {"username": USER, "password": "{{ password.stdout }}"}
    step_lists["push"][0][PUSH]["credentials"] = credentials
    step_lists["push"].insert(0, {SHELL: {"id": "password", "script": f"echo {PASSWORD}"}})
    (project.folder / "Dockerfile").write_text("FROM scratch\nCOPY *.py /\n")
    project.write([image_entry()], **step_lists)
    project.deploy(env=ENV)
    ended = project.cli("plan", "--all", cwd=project.folder, api_url=project.api_url, **ENV)
    assert "answers 401; assuming that the image does not exist" in ended.stderr
    assert "(known after build)" in ended.stdout
