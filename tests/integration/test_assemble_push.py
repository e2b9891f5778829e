"""Assembled images, pushed to a real registry."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.client import DOCKER_MANIFEST, RegistryClient
from deployctl.clients.registry.errors import Denied, NotInRegistry
from deployctl.images.builder import StepCredentials
from deployctl.images.credentials import CredentialStore
from deployctl.images.daemonless.assembler import AssembleBuilder, CannotAssemble, ImageNotBuilt
from deployctl.images.daemonless.copy_destination import NeedsEngine
from deployctl.images.distribution import NoSuchPlatform, Registries, ResolvedImage
from deployctl.images.model import BuildSpec, Image
from deployctl.images.reference import ImageReference
from deployctl.images.source import BuildSource, ProjectVersions, read_source
from tests.support.blobs import host
from tests.support.proxy import Proxy
from tests.support.registry import PASSWORD, USER, LocalRegistry, add_image

FLOW = "COPY . /app/\n"


class Project:
    """A build context, a builder, and a base image in a registry behind a proxy."""

    def __init__(self, folder: Path, proxy: Proxy, name: str) -> None:
        self.folder, self.proxy, self.repository = folder, proxy, name
        self.host = host(proxy)
        self.base = f"{self.host}/{name}/base:1"
        self.lines: list[str] = []
        self.builder = AssembleBuilder(
            env={"HOME": "/"}, on_output=lambda _, s: self.lines.append(s)
        )
        (folder / "flow.py").write_text("1\n")
        self.write(FLOW)
        client = RegistryClient(self.host)
        add_image(client, f"{name}/base", "1", [b"one layer", b"another"], platform="linux/amd64")
        client.close()
        proxy.clear()

    def write(self, text: str) -> None:
        (self.folder / "Dockerfile").write_text(f"FROM {self.base}\n{text}")

    def spec(self, **more: Any) -> BuildSpec:
        fields = {"name": f"{self.host}/{self.repository}/app", "platform": "linux/amd64"}
        return BuildSpec(**{**fields, "context": self.folder, "tag": "1", **more})

    def source(self, spec: BuildSpec) -> BuildSource:
        return read_source(spec, lambda: ProjectVersions("3.8.8", "3.11"))

    def build(self, content: str | None = None, **more: Any) -> Image:
        spec = self.spec(**more)
        return self.builder.build(spec, self.source(spec), content)

    def push(self, *tags: str, credentials: StepCredentials | None = None, **more: Any) -> Image:
        return self.builder.push(self.build(**more), tags or ("1",), credentials)

    @property
    def uploads(self) -> int:
        """Number of blobs that were uploaded through the proxy."""
        return len(self.proxy.seen("PUT", "/blobs/uploads/"))


@pytest.fixture
def project(
    tmp_path: Path, registry: LocalRegistry, request: pytest.FixtureRequest
) -> Iterator[Project]:
    (tmp_path / "project").mkdir()
    with Proxy(registry.url) as proxy:
        name = f"tests/{zlib.crc32(request.node.name.encode()):x}"
        project = Project(tmp_path / "project", proxy, name)
        yield project
        project.builder.close()


def resolved(image: Image, store: CredentialStore | None = None) -> ResolvedImage:
    registries = Registries(store or CredentialStore({"HOME": "/"}))
    try:
        return registries.resolve(ImageReference.parse(image.pinned))
    finally:
        registries.close()


@pytest.mark.smoke
def test_same_files_give_the_same_image(project: Project) -> None:
    first = project.push()
    os.utime(project.folder / "flow.py", (1, 1))
    (project.folder / "Dockerfile").touch()
    project.builder.close()
    project.builder = AssembleBuilder(env={"HOME": "/"}, on_output=lambda *_: None)
    assert project.push() == first


def test_change_of_one_line_uploads_only_that_layer(project: Project) -> None:
    project.push()
    assert project.uploads == 2  # the layer and the config; those of the base are mounted
    project.proxy.clear()
    (project.folder / "flow.py").write_text("2\n")
    project.push()
    assert project.uploads == 2
    assert len(project.proxy.seen("PUT", "/manifests/1")) == 1
    project.proxy.clear()
    project.push()
    assert project.uploads == 0


def test_layers_of_the_base_come_first(project: Project) -> None:
    image = project.push()
    base = resolved(Image(project.base.rpartition(":")[0], "1"))
    actual = resolved(image)
    assert actual.layers[:-1] == base.layers
    assert actual.manifest["config"]["digest"] == image.id
    assert len(actual.config["rootfs"]["diff_ids"]) == 1


def test_media_types_are_those_of_the_base(project: Project) -> None:
    base = resolved(Image(project.base.rpartition(":")[0], "1"))
    client = RegistryClient(project.host)
    content = client.manifest(base.reference.repository, base.digest).content
    as_docker = content.replace(b"oci.image.manifest.v1", b"docker.distribution.manifest.v2")
    client.put_manifest(base.reference.repository, "1", as_docker, DOCKER_MANIFEST)
    client.close()
    actual = resolved(project.push())
    assert actual.type == DOCKER_MANIFEST
    assert actual.layers[-1].type == "application/vnd.docker.image.rootfs.diff.tar.gzip"


def test_base_layers_are_copied_from_another_registry(
    project: Project, closed_registry: LocalRegistry
) -> None:
    name = f"{closed_registry.host}/{project.repository}"
    credentials = StepCredentials(USER, PASSWORD, closed_registry.host)
    image = project.push(name=name, credentials=credentials)
    store = CredentialStore({}, {closed_registry.host: Credentials(USER, PASSWORD)})
    assert resolved(image, store).digest == image.digest


def test_wrong_password_is_reported(project: Project, closed_registry: LocalRegistry) -> None:
    name = f"{closed_registry.host}/{project.repository}"
    with pytest.raises(Denied, match=closed_registry.host):
        project.push(name=name, credentials=StepCredentials(USER, "wrong"))


def test_actualis_found_by_its_content_tag_and_gets_other_tags(project: Project) -> None:
    assert project.builder.find(project.spec(), "content-1") is None
    pushed = project.push(content="content-1")
    project.proxy.clear()
    found = project.builder.find(project.spec(tag="2"), "content-1")
    assert found == Image(pushed.name, "2", pushed.digest, built=False)
    project.builder.push(found, ["2", "3"], None)
    assert project.uploads == 0
    assert resolved(Image(pushed.name, "3")).digest == pushed.digest


def test_actualwithout_a_tag_gets_one(project: Project) -> None:
    image = project.build(tag=None)
    assert str(image.id).startswith(f"sha256:{image.tag}")
    assert len(image.tag) == 12
    assert project.build(tag=None, content="content-1").tag == "content-1"


def test_killed_push_is_resumed(project: Project) -> None:
    """The process dies after all blobs are uploaded and before the manifest is."""
    program = "\n".join(
        [
            "import sys",
            "from pathlib import Path",
            "from deployctl.images.daemonless.assembler import AssembleBuilder",
            "from deployctl.images.model import BuildSpec",
            "from deployctl.images.source import read_source",
            "name, folder = sys.argv[1:]",
            "spec = BuildSpec(name, Path(folder), tag='1', platform='linux/amd64')",
            "builder = AssembleBuilder(env={'HOME': '/'}, on_output=print)",
            "builder.push(builder.build(spec, read_source(spec, None), None), ['1'], None)",
        ]
    )
    project.proxy.hang(method="PUT", path="/manifests/1")
    name = f"{project.host}/{project.repository}/app"
    with subprocess.Popen([sys.executable, "-c", program, name, project.folder]) as child:
        while not project.proxy.seen("PUT", "/manifests/1"):
            assert child.poll() is None
            time.sleep(0.05)
        child.kill()
    assert project.uploads == 2
    image = project.push()
    assert project.uploads == 2
    assert resolved(image).digest == image.digest


def test_all_instructions_that_need_an_engine_are_reported(project: Project) -> None:
    project.write("RUN one\nCOPY . /app/\nCOPY --chown=me . .\nRUN two\nCOPY nothing .\n")
    with pytest.raises(CannotAssemble, match=r"^Dockerfile:2:1: RUN needs") as caught:
        project.build()
    first, *others = str(caught.value.help).splitlines()
    assert "--builder docker" in first
    assert [line.partition(": ")[0] for line in others] == [
        f"also Dockerfile:{at}:1" for at in (4, 5, 6)
    ]


def test_onbuild_of_the_base_is_rejected(project: Project) -> None:
    project.write("ONBUILD RUN x\n")
    pushed = project.push()
    project.base = f"{pushed.name}:1"
    project.write(FLOW)
    with pytest.raises(CannotAssemble, match="Dockerfile:1:1: the base image has ONBUILD"):
        project.build()


def test_onbuild_of_a_stage_is_rejected(project: Project) -> None:
    project.base += " AS first"
    project.write("ONBUILD RUN x\nFROM first\n")
    with pytest.raises(CannotAssemble, match="Dockerfile:3:1: the base image has ONBUILD"):
        project.build()


def test_build_contexts_are_rejected(project: Project) -> None:
    with pytest.raises(NeedsEngine, match="`build_contexts` needs"):
        project.build(options={"build_contexts": {project.base: "../other"}})


def test_custom_frontend_is_rejected(project: Project) -> None:
    text = (project.folder / "Dockerfile").read_text()
    (project.folder / "Dockerfile").write_text(f"# syntax=example.com/mine\n{text}")
    with pytest.raises(CannotAssemble, match="needs a custom frontend"):
        project.build()


def test_error_has_the_code_of_the_first_problem(project: Project) -> None:
    project.write("COPY nothing .\nRUN x\n")
    with pytest.raises(CannotAssemble) as caught:
        project.build()
    assert caught.value.code == "DC737"


def test_missing_base_actualis_reported(project: Project) -> None:
    project.base = f"{project.host}/{project.repository}/nothing:1"
    project.write(FLOW)
    with pytest.raises(NotInRegistry, match="nothing:1"):
        project.build()


def test_missing_platform_is_reported(project: Project) -> None:
    with pytest.raises(NoSuchPlatform, match="linux/s390x"):
        project.build(platform="linux/s390x")


def test_actualthat_was_not_built_is_not_pushed(project: Project) -> None:
    with pytest.raises(ImageNotBuilt, match="app:1"):
        project.builder.push(Image(f"{project.host}/app", "1", built=False), ["1"], None)
