"""Images built with and without an engine run on a node that pulls them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployctl.clients.docker import Engine
from deployctl.images.builder import Builder
from deployctl.images.daemonless.assembler import AssembleBuilder
from deployctl.images.docker.engine import DockerBuilder
from deployctl.images.model import BuildSpec, Image
from deployctl.images.source import ProjectVersions, read_source
from tests.integration.node.test_rig import PODS, ended, pod, start
from tests.support import docker_engine as engines
from tests.support.cluster.images import Image as RigImage
from tests.support.cluster.images import flow_image
from tests.support.cluster.node import Node
from tests.support.docker_engine import DockerEngine
from tests.support.pushed import push
from tests.support.registry import LocalRegistry
from tests.support.servers import PREFECT_3
from tests.support.waiting import until

# The first test may have to build the layers of the base image.
pytestmark = pytest.mark.timeout(900)

DOCKERFILE = """\
FROM {base}
ENV GREETING="hello from"
WORKDIR /opt/app
COPY --chown=1000:1000 . ./
USER 1000:1000
CMD ["python3", "flow.py"]
"""
FLOW = """\
import os
from pathlib import Path

import helper

print(os.environ["GREETING"], helper.NAME, Path.cwd(), os.getuid())
"""


@pytest.fixture(scope="module")
def base(node: Node, registry: LocalRegistry) -> str:
    """Debian with Python in the registry that the node pulls from."""
    node.registry(registry.host, registry.url)
    python = RigImage("python", flow_image(PREFECT_3).layers[:1], ())
    return push(python, registry, "runs/base", "1")


@pytest.fixture
def build_spec(base: str, registry: LocalRegistry, tmp_path: Path) -> BuildSpec:
    """A flow of two files."""
    files = {
        "Dockerfile": DOCKERFILE.format(base=base),
        ".dockerignore": "Dockerfile\n",
        "flow.py": FLOW,
        "helper.py": "NAME = 'the image'\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return BuildSpec(f"{registry.host}/runs/app", tmp_path)


@pytest.fixture
def assemble(tmp_path: Path) -> Iterator[AssembleBuilder]:
    with AssembleBuilder(env={"HOME": str(tmp_path)}, on_output=lambda *_: None) as builder:
        yield builder


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[DockerBuilder]:
    if reason := engines.lacks():
        pytest.skip(reason)
    with DockerEngine() as running:
        engine = Engine(running.url)
        builder = DockerBuilder(engine, env={"HOME": str(tmp_path)}, on_output=lambda *_: None)
        yield builder
        builder.close()
        engine.close()


def published(builder: Builder, build_spec: BuildSpec, tag: str) -> Image:
    source = read_source(build_spec, lambda: ProjectVersions("3.8.8", "3.11"))
    return builder.push(builder.build(build_spec, source, tag), [tag], None)


@pytest.mark.parametrize("made_by", ["assemble", "docker"])
def test_image_from_the_registry_runs(
    node: Node, build_spec: BuildSpec, made_by: str, request: pytest.FixtureRequest
) -> None:
    image = published(request.getfixturevalue(made_by), build_spec, made_by)
    assert image.digest
    start(node, f"runs-{made_by}", image=image.pinned)
    until(lambda: ended(node, f"runs-{made_by}") != "", seconds=240)
    name = pod(node, f"runs-{made_by}")["metadata"]["name"]
    log = node.control_plane.request("GET", f"{PODS}/{name}/log")
    assert (ended(node, f"runs-{made_by}"), log) == (
        "Complete",
        "hello from the image /opt/app 1000\n",
    )
