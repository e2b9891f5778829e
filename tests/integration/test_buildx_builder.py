"""Builds with BuildKit through the docker command, and pushes to a real registry."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployctl.clients.docker import Engine
from deployctl.images.builder import StepCredentials
from deployctl.images.docker.engine import DockerBuilder
from deployctl.images.docker.engine_errors import BuildFailed
from deployctl.images.model import BuildSpec, Image
from deployctl.images.source import ProjectVersions, read_source
from tests.support import registry as registries
from tests.support.cluster.tools import CACHE
from tests.support.docker_engine import DockerEngine
from tests.support.registry import LocalRegistry

PLUGINS = CACHE / "cli-plugins"
"""An additional directory with `docker-buildx`, beside those of the docker command."""
LOCAL = {"pull": False, "network": "none"}


class BuilderHarness:
    """A builder and its build context."""

    def __init__(self, docker_engine: DockerEngine, folder: Path) -> None:
        self.engine = Engine(docker_engine.url)
        self.client = docker_engine.client
        self.folder = folder / "project"
        self.folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(PLUGINS)]}))
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DOCKER_CONFIG": str(folder),
            "DOCKER_HOST": docker_engine.url,
        }
        self.lines: list[str] = []
        self.builder = DockerBuilder(
            self.engine, env=self.env, on_output=lambda _, line: self.lines.append(line)
        )

    def build(self, dockerfile: str, **spec: Any) -> Image:
        (self.folder / "Dockerfile").write_text(dockerfile)
        named = {"name": "team/app", "options": LOCAL, **spec}
        build_spec = BuildSpec(context=self.folder, backend="buildx", **named)
        source = read_source(build_spec, lambda: ProjectVersions("3.8.8", "3.11"))
        return self.builder.build(build_spec, source, "content-1")


@pytest.fixture
def harness(docker_engine: DockerEngine, tmp_path: Path) -> Iterator[BuilderHarness]:
    """A builder with an empty context."""
    harness = BuilderHarness(docker_engine, tmp_path)
    try:
        version = ["docker", "buildx", "version"]
        if subprocess.run(version, env=harness.env, check=False, capture_output=True).returncode:
            pytest.skip(f"needs the docker command's plugin buildx, also found in {PLUGINS}")
        yield harness
    finally:
        harness.builder.close()
        harness.engine.close()


def test_buildkit_features_are_built(harness: BuilderHarness) -> None:
    (harness.folder / "a").write_text("a")
    (harness.folder / "token").write_text("s3cret")
    image = harness.build(
        "FROM box:1\nCOPY --chmod=600 a /a\n"
        'RUN --mount=type=secret,id=t,required ["/box", "print=ran"]\n',
        tag="1",
        additional_tags=("2",),
        options={**LOCAL, "secrets": ["id=t,src=token"]},
    )
    about = harness.client.images.get(image.id).attrs
    assert sorted(about["RepoTags"]) == [f"team/app:{tag}" for tag in ("1", "2", "content-1")]
    assert any("ran" in line for line in harness.lines)
    found = harness.builder.find(BuildSpec("team/app", harness.folder), "content-1")
    assert found == Image("team/app", "content-1", None, image.id, built=False)


def test_failed_instruction_is_shown(harness: BuilderHarness) -> None:
    with pytest.raises(BuildFailed, match="exit code: 3") as failed:
        harness.build('FROM box:1\n\nRUN ["/box", "print=so far", "exit=3"]\n')
    assert '[2/2] RUN ["/box", "print=so far", "exit=3"]' in failed.value.message


def test_line_with_a_syntax_error_is_named(harness: BuilderHarness) -> None:
    with pytest.raises(BuildFailed, match=r"Dockerfile:2: .*CPOY"):
        harness.build("FROM box:1\nCPOY . /\n")


def test_image_is_pushed_by_the_build_or_after_it(harness: BuilderHarness) -> None:
    if reason := registries.lacks():
        pytest.skip(reason)
    with LocalRegistry() as registry:
        name = f"{registry.host}/team/app"
        built = harness.build("FROM scratch\nCOPY . /\n", name=name)
        after = harness.builder.push(built, ["1"], StepCredentials("any", "body"))
        assert after.digest
        pushing = {**LOCAL, "push": True, "provenance": False}
        during = harness.build("FROM scratch\nCOPY . /\n", name=name, options=pushing)
        assert (during.tag, bool(during.digest)) == ("content-1", True)
        assert harness.builder.push(during, ["2"], None) == during


def test_ignore_file_of_the_dockerfile_is_used(harness: BuilderHarness) -> None:
    (harness.folder / "Dockerfile.dockerignore").write_text("secret\n")
    (harness.folder / "secret").touch()
    with pytest.raises(BuildFailed, match=r"/secret.*not found"):
        harness.build("FROM box:1\nCOPY secret /\n")
