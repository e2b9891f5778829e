"""Images in a registry that only a push step's credentials open."""

from __future__ import annotations

import pytest

from tests.integration.test_build_command import PUSH, SHELL, imaged, steps
from tests.support.docker_engine import DockerEngine
from tests.support.project_harness import ProjectHarness
from tests.support.registry import PASSWORD, USER, LocalRegistry

ENV = {"DEPLOYCTL_BUILDER": "assemble", "REGPW": PASSWORD}


@pytest.mark.parametrize(
    ("name", "password"), [("plain", "{{ $REGPW }}"), ("kept", "{{ prefect.variables.regpw }}")]
)
def test_image_is_found_with_the_credentials_of_the_push_step(
    site: ProjectHarness, closed_registry: LocalRegistry, name: str, password: str
) -> None:
    site.api.call("POST", "/variables/", {"name": "regpw", "value": PASSWORD})
    login = {"username": USER, "password": password, "registry_url": closed_registry.host}
    made = steps(f"{closed_registry.host}/{name}/of-{site.major}")
    made["push"][0][PUSH]["credentials"] = login
    (site.folder / "Dockerfile").write_text("FROM scratch\nCOPY *.py /\n")
    site.write([imaged()], **made)
    site.deploy(env=ENV)
    assert site.run("plan", "--all", env=ENV)["summary"]["none"] == 1
    assert [each["built"] for each in site.run("build", env=ENV)["images"]] == [False]


def test_plan_does_not_know_the_digest_of_an_unpushed_image(
    site: ProjectHarness, docker_engine: DockerEngine, registry: LocalRegistry
) -> None:
    """Also where the engine has built it already."""
    env = {"DOCKER_HOST": docker_engine.url}
    made = steps(f"{registry.host}/unpushed/of-{site.major}")
    (site.folder / "Dockerfile").write_text("FROM scratch\nCOPY *.py /\n")
    (site.folder / ".dockerignore").write_text("prefect.yaml\n")
    site.write([imaged()], build=made["build"])
    site.deploy(env=env)
    site.write([imaged()], **made)
    ((change,),) = (each["fields"] for each in site.run("plan", "--all", env=env)["changes"])
    assert change["new"]["image"] == {"unknown": "push.image"}
    site.deploy(env=env)
    assert site.run("plan", "--all", env=env)["summary"]["none"] == 1


def test_denied_lookup_is_reported(site: ProjectHarness, closed_registry: LocalRegistry) -> None:
    """As it is by a login that a step gives only after the image was built."""
    made = steps(f"{closed_registry.host}/late/of-{site.major}")
    login = {"username": USER, "password": "{{ said.stdout }}"}
    made["push"][0][PUSH]["credentials"] = login
    made["push"].insert(0, {SHELL: {"id": "said", "script": f"echo {PASSWORD}"}})
    (site.folder / "Dockerfile").write_text("FROM scratch\nCOPY *.py /\n")
    site.write([imaged()], **made)
    site.deploy(env=ENV)
    ended = site.cli("plan", "--all", cwd=site.folder, api_url=site.api_url, **ENV)
    assert "answers 401, so nobody knows whether it is there" in ended.stderr
    assert "(known after build)" in ended.stdout
