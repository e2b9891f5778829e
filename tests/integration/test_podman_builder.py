"""Builds and pushes with Podman's implementation of the Docker Engine API."""

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


class BuilderHarness:
    """A builder and its build context."""

    def __init__(self, podman: Podman, folder: Path) -> None:
        self.engine = Engine(podman.url)
        self.folder = folder
        self.builder = DockerBuilder(
            self.engine, env={"HOME": str(folder)}, on_output=lambda *_: None
        )

    def build(self, name: str, content: str | None, dockerfile: str, **spec: Any) -> Image:
        (self.folder / "Dockerfile").write_text(dockerfile)
        options = {"pull": False, "network_mode": "none"}
        build_spec = BuildSpec(name, self.folder, options=options, **spec)
        return self.builder.build(
            build_spec, read_source(build_spec, lambda: ProjectVersions("3", "3")), content
        )


@pytest.fixture
def harness(podman: Podman, tmp_path: Path) -> Iterator[BuilderHarness]:
    harness = BuilderHarness(podman, tmp_path)
    yield harness
    harness.builder.close()
    harness.engine.close()


def test_image_is_built_pushed_and_found_again(
    harness: BuilderHarness, podman: Podman, registry: LocalRegistry
) -> None:
    name = f"{registry.host}/podman/app"
    (harness.folder / "a").touch()
    built = harness.build(name, "content-1", "FROM box:1\nCOPY a /\n", tag="1")
    pushed = harness.builder.push(built, ["1", "latest"], None)
    client = RegistryClient(registry.host)
    found = {client.head_manifest("podman/app", tag) for tag in ("1", "latest", "content-1")}
    client.close()
    assert found == {pushed.digest}
    again = BuildSpec(name, harness.folder, tag="2")
    assert harness.builder.find(again, "content-1") == replace(built, tag="2", built=False)
    podman.client.images.remove(built.id, force=True)
    in_registry = harness.builder.find(again, "content-1")
    assert in_registry == Image(name, "2", pushed.digest, built=False)


def test_short_name_is_not_resolved_to_another_image(
    harness: BuilderHarness, podman: Podman
) -> None:
    for name in ("r.test/team/short", "team/short", "short"):
        harness.build(name, "content-2", f"FROM box:1\nLABEL for={name}\n", tag="1")
    for whole in ("r.test/team/short", "docker.io/team/short", "docker.io/library/short"):
        for tag in ("1", "content-2"):
            label = podman.client.images.get(f"{whole}:{tag}").labels["for"]
            assert whole in (label, f"docker.io/{label}", f"docker.io/library/{label}")


def test_failed_line_is_named_with_its_output(harness: BuilderHarness) -> None:
    with pytest.raises(BuildFailed, match=r"failed at Dockerfile:3 \(RUN") as failed:
        harness.build("r.test/app", None, 'FROM box:1\n\nRUN ["/box", "print=so far", "exit=3"]\n')
    assert "  so far" in failed.value.message.splitlines()
