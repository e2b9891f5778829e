"""Images that Podman builds and pushes, by its service for programs that know Docker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployctl.clients.docker import Engine
from deployctl.clients.registry.client import RegistryClient
from deployctl.images.docker.engine import DockerBuilder
from deployctl.images.docker.engine_errors import BuildFailed
from deployctl.images.model import BuildSpec, Image
from deployctl.images.source import ProjectVersions, read_source
from tests.support.podman import Podman, lacks
from tests.support.registry import LocalRegistry


@pytest.fixture(scope="module")
def podman(registry: LocalRegistry) -> Iterator[Podman]:
    if reason := lacks():
        pytest.skip(reason)
    with Podman(insecure=[registry.host]) as running:
        yield running


class Stage:
    """A builder, and the folder that it builds from."""

    def __init__(self, podman: Podman, folder: Path) -> None:
        self.engine = Engine(podman.url)
        self.folder = folder
        self.builder = DockerBuilder(
            self.engine, env={"HOME": str(folder)}, on_output=lambda *_: None
        )

    def build(self, name: str, content: str | None, dockerfile: str, **spec: Any) -> Image:
        (self.folder / "Dockerfile").write_text(dockerfile)
        options = {"pull": False, "network_mode": "none"}
        wanted = BuildSpec(name, self.folder, options=options, **spec)
        return self.builder.build(
            wanted, read_source(wanted, lambda: ProjectVersions("3", "3")), content
        )


@pytest.fixture
def stage(podman: Podman, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(podman, tmp_path)
    yield made
    made.builder.close()
    made.engine.close()


def test_image_is_built_pushed_and_found_again(
    stage: Stage, podman: Podman, registry: LocalRegistry
) -> None:
    name = f"{registry.host}/podman/app"
    (stage.folder / "a").touch()
    built = stage.build(name, "content-1", "FROM box:1\nCOPY a /\n", tag="1")
    pushed = stage.builder.push(built, ["1", "latest"], None)
    asked = RegistryClient(registry.host)
    found = {asked.head_manifest("podman/app", tag) for tag in ("1", "latest", "content-1")}
    asked.close()
    assert found == {pushed.digest}
    again = BuildSpec(name, stage.folder, tag="2")
    assert stage.builder.find(again, "content-1") == replace(built, tag="2", built=False)
    podman.client.images.remove(built.id, force=True)
    there = stage.builder.find(again, "content-1")
    assert there == Image(name, "2", pushed.digest, built=False)


def test_short_name_is_not_resolved_to_another_image(stage: Stage, podman: Podman) -> None:
    for name in ("r.test/team/short", "team/short", "short"):
        stage.build(name, "content-2", f"FROM box:1\nLABEL for={name}\n", tag="1")
    for whole in ("r.test/team/short", "docker.io/team/short", "docker.io/library/short"):
        for tag in ("1", "content-2"):
            label = podman.client.images.get(f"{whole}:{tag}").labels["for"]
            assert whole in (label, f"docker.io/{label}", f"docker.io/library/{label}")


def test_failed_line_is_named_with_its_output(stage: Stage) -> None:
    with pytest.raises(BuildFailed, match=r"failed at Dockerfile:3 \(RUN") as failed:
        stage.build("r.test/app", None, 'FROM box:1\n\nRUN ["/box", "print=so far", "exit=3"]\n')
    assert "  so far" in failed.value.message.splitlines()
