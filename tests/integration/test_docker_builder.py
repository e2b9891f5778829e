"""Builds with a real Docker Engine, and pushes to a real registry."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError

from deployctl.clients.docker import Engine
from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.client import RegistryClient
from deployctl.clients.registry.errors import Denied, DigestMismatch, RegistryUnreachable
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import Interrupted
from deployctl.images.builder import StepCredentials
from deployctl.images.docker.engine import DockerBuilder
from deployctl.images.docker.engine_errors import BadOption, BuildFailed, NeedsBuildKit, NoSuchImage
from deployctl.images.model import AUTO, BuildSpec, Image
from deployctl.images.source import ProjectVersions, read_source
from tests.support import registry as registries
from tests.support.docker_engine import IMAGE, DockerEngine
from tests.support.registry import PASSWORD, USER, LocalRegistry

WRONG = "not-the-password"
VERSIONS = ProjectVersions("3.8.8", "3.11")
LOCAL: Mapping[str, Any] = {"pull": False, "network_mode": "host"}


@pytest.fixture(scope="module")
def registry() -> Iterator[LocalRegistry]:
    """A registry with a password."""
    if reason := registries.lacks():
        pytest.skip(reason)
    with LocalRegistry(basic=True) as running:
        yield running


class BuilderHarness:
    """A builder and its build context."""

    def __init__(self, docker_engine: DockerEngine, folder: Path) -> None:
        self.engine = Engine(docker_engine.url)
        self.client = docker_engine.client
        self.folder = folder / "project"
        self.folder.mkdir()
        self.lines: list[str] = []
        self.stop = CancellationToken()
        env = {"HOME": str(folder), "DOCKER_HOST": docker_engine.url}
        self.builder = DockerBuilder(
            self.engine,
            env=env,
            on_output=lambda _, line: self.lines.append(line),
            cancellation=self.stop,
        )

    def close(self) -> None:
        self.builder.close()
        self.engine.close()

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / name.replace("__", ".")).write_text(text)

    def build(self, content: str | None = None, **spec: Any) -> Image:
        build_spec = self.spec(**spec)
        return self.builder.build(build_spec, read_source(build_spec, lambda: VERSIONS), content)

    def spec(self, name: str = "team/app", **spec: Any) -> BuildSpec:
        return BuildSpec(name, self.folder, **{"options": LOCAL, **spec})

    def files(self, image: Image) -> list[str]:
        """The files of the image's last layer."""
        return sorted(self.layer(image).getnames())

    def layer(self, image: Image) -> tarfile.TarFile:
        saved = io.BytesIO(b"".join(self.client.images.get(image.id).save()))
        with tarfile.open(fileobj=saved) as archive:
            manifest = archive.extractfile("manifest.json")
            assert manifest is not None
            last = archive.extractfile(json.load(manifest)[0]["Layers"][-1])
            assert last is not None
            return tarfile.open(fileobj=io.BytesIO(last.read()))


@pytest.fixture
def harness(docker_engine: DockerEngine, tmp_path: Path) -> Iterator[BuilderHarness]:
    """A builder with an empty context; its images are removed at the end."""
    harness = BuilderHarness(docker_engine, tmp_path)
    yield harness
    harness.close()
    images = docker_engine.client.images
    while remaining := [image for image in images.list() if IMAGE not in image.tags]:
        for image in remaining:
            with suppress(
                APIError
            ):  # an image on which another one is based is removed after that one
                images.remove(image.id, force=True)


@pytest.mark.smoke
def test_image_is_built_from_its_spec(harness: BuilderHarness) -> None:
    harness.write(
        Dockerfile='FROM box:1 AS one\nARG V\nLABEL v=$V\nCOPY . /p/\nFROM one\nCMD ["x"]\n',
        __dockerignore="*.log\n",
        a__txt="a",
        b__log="b",
    )
    image = harness.build(
        "content-1",
        tag="3",
        additional_tags=("latest",),
        build_args={"V": "9"},
        target="one",
        labels={"team": "x"},
        platform="linux/amd64",
    )
    about = harness.client.images.get(image.id).attrs
    assert about["Config"]["Labels"] == {"v": "9", "team": "x"}
    assert not about["Config"]["Cmd"]
    assert sorted(about["RepoTags"]) == [f"team/app:{tag}" for tag in ("3", "content-1", "latest")]
    assert (image.tag, image.digest, image.built) == ("3", None, True)
    assert harness.files(image) == ["p", "p/.dockerignore", "p/Dockerfile", "p/a.txt"]
    assert any("COPY . /p/" in line for line in harness.lines)


def test_image_without_a_tag_gets_its_content_tag_or_its_id(harness: BuilderHarness) -> None:
    harness.write(Dockerfile="FROM box:1\nLABEL a=b\n")
    assert harness.build("content-2").tag == "content-2"
    image = harness.build(None)
    assert str(image.id).startswith(f"sha256:{image.tag}")
    assert len(image.tag) == 12


def test_image_in_the_engine_is_found_by_its_content_tag_and_retagged(
    harness: BuilderHarness,
) -> None:
    harness.write(Dockerfile="FROM box:1\n")
    built = harness.build("content-3", tag="1")
    found = harness.builder.find(harness.spec(tag="2", additional_tags=("new",)), "content-3")
    assert found == Image("team/app", "2", None, built.id, built=False)
    assert {"team/app:2", "team/app:new"} <= set(harness.client.images.get(built.id).tags)


def test_derived_image_is_not_mistaken_for_its_base(harness: BuilderHarness) -> None:
    harness.write(Dockerfile="FROM box:1\nLABEL below=1\n")
    below = harness.build("content-8")
    harness.client.images.get(below.id).tag("below", "1")
    harness.write(Dockerfile="FROM below:1\nLABEL above=1\n")
    harness.build(tag="above")
    harness.client.images.remove("team/app:content-8")
    assert harness.builder.find(harness.spec(name="127.0.0.1:1/team/app"), "content-8") is None


@pytest.mark.parametrize("ignore", [None, "junk\n", "junk\n.dockerignore\n", "junk"])
def test_dockerfile_outside_the_context_is_not_in_the_image(
    harness: BuilderHarness, ignore: str | None
) -> None:
    (harness.folder.parent / "Else").write_text("FROM box:1\nCOPY . /p/\n")
    harness.write(a="a", junk="j", **({"__dockerignore": ignore} if ignore else {}))
    image = harness.build(dockerfile="../Else")
    seen = {"p", "p/a"} | (set() if ignore else {"p/junk"})
    seen |= {"p/.dockerignore"} if ignore in ("junk\n", "junk") else set()
    assert set(harness.files(image)) == seen
    assert {path.name for path in harness.folder.iterdir()} == {"a", "junk"} | (
        {".dockerignore"} if ignore else set()
    )


def test_ignore_file_of_the_dockerfile_is_used(harness: BuilderHarness) -> None:
    harness.write(
        Dockerfile="FROM box:1\nCOPY . /p/\n",
        a="a",
        b="b",
        __dockerignore="a\n",
        Dockerfile__dockerignore="b\nDockerfile*\n",
    )
    assert harness.files(harness.build()) == ["p", "p/.dockerignore", "p/a"]


def test_generated_dockerfile_is_built_beside_an_existing_one(harness: BuilderHarness) -> None:
    harness.client.images.get(IMAGE).tag("prefecthq/prefect", "3.8.8-python3.11")
    harness.write(Dockerfile="FROM nothing\n", flow__py="")
    image = harness.build(dockerfile=AUTO)
    home = "opt/prefect/project"
    assert harness.files(image)[2:] == [home, f"{home}/Dockerfile", f"{home}/flow.py"]
    config = harness.client.images.get(image.id).attrs["Config"]
    assert config["WorkingDir"] == f"/{home}/"


def test_failed_line_is_named_with_its_output(harness: BuilderHarness) -> None:
    harness.write(
        Dockerfile='# a\nARG A=1\nFROM box:1\n\nRUN ["/box", "print=so far", \\\n "exit=3"]\n'
    )
    with pytest.raises(BuildFailed) as failed:
        harness.build()
    assert "'team/app' failed at Dockerfile:5 (RUN" in failed.value.message
    assert "non-zero code: 3" in failed.value.message
    assert "  so far" in failed.value.message.splitlines()
    assert "so far" in harness.lines


@pytest.mark.parametrize(
    ("dockerfile", "options", "kind", "message"),
    [
        ("FROM box:1\nCPOY . /\n", LOCAL, BuildFailed, "Dockerfile:2: .*CPOY"),
        ("FROM box:1\nCOPY gone /\n", LOCAL, BuildFailed, r"Dockerfile:2 \(COPY gone /\)"),
        ("FROM box:1\nRUN --mount=type=cache,target=/c x\n", LOCAL, NeedsBuildKit, "BuildKit"),
        ("FROM box:1\nCOPY --chmod=600 . /\n", LOCAL, NeedsBuildKit, "BuildKit"),
        ("FROM box:1\n", {**LOCAL, "secrets": []}, BadOption, "secrets"),
        ("FROM box:1\n", {**LOCAL, "shmsize": "x"}, BuildFailed, "ParseInt"),
        ("FROM box:1\n", {**LOCAL, "container_limits": {"x": 1}}, BuildFailed, "cannot start"),
        ("FROM 127.0.0.1:1/base\n", {}, BuildFailed, r"Dockerfile:1 .*refused"),
    ],
)
def test_build_errors_are_reported(
    harness: BuilderHarness, dockerfile: str, options: Any, kind: type[Exception], message: str
) -> None:
    harness.write(Dockerfile=dockerfile)
    with pytest.raises(kind, match=message) as failed:
        harness.build(options=options)
    assert type(failed.value) is kind


def test_silent_build_is_interrupted_by_a_stop(harness: BuilderHarness) -> None:
    harness.write(Dockerfile='FROM box:1\nRUN ["/box", "print=begun", "sleep=30"]\n')
    add_line = harness.lines.append

    def on_output(_: str, line: str) -> None:
        add_line(line)
        if line == "begun":
            harness.stop.cancel()

    harness.builder._on_output = on_output
    with pytest.raises(Interrupted):
        harness.build()


def digests(registry: LocalRegistry, repository: str, *tags: str) -> set[str | None]:
    """The digests of the tags."""
    client = RegistryClient(registry.host, Credentials(USER, PASSWORD))
    try:
        return {client.head_manifest(repository, tag) for tag in tags}
    finally:
        client.close()


def log_in(harness: BuilderHarness, registry: LocalRegistry) -> None:
    """Writes the credentials to Docker's config.json."""
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    folder = harness.folder.parent / ".docker"
    folder.mkdir()
    config = {"auths": {registry.host: {"auth": pair}}}
    (folder / "config.json").write_text(json.dumps(config))


def test_image_is_pushed_under_all_tags_and_its_content_tag(
    harness: BuilderHarness, registry: LocalRegistry
) -> None:
    name = f"{registry.host}/team/app"
    harness.write(Dockerfile="FROM box:1\nCOPY a /\n", a="pushed")
    built = harness.build("content-4", name=name, tag="1")
    pushed = harness.builder.push(
        built, ["1", "latest"], StepCredentials(USER, PASSWORD, registry.url)
    )
    assert pushed.digest
    assert pushed.pinned == f"{name}:1@{pushed.digest}"
    assert digests(registry, "team/app", "1", "latest", "content-4") == {pushed.digest}


def test_image_in_the_registry_is_found_and_retagged(
    harness: BuilderHarness, registry: LocalRegistry
) -> None:
    name = f"{registry.host}/team/found"
    log_in(harness, registry)
    harness.write(Dockerfile="FROM box:1\nLABEL only=registry\n")
    built = harness.build("content-5", name=name)
    pushed = harness.builder.push(built, ["content-5"], None)
    harness.client.images.remove(built.id, force=True)
    found = harness.builder.find(harness.spec(name=name, tag="new"), "content-5")
    assert found == Image(name, "new", pushed.digest, built=False)
    assert harness.builder.push(found, ["new"], None) == found
    assert digests(registry, "team/found", "new") == {pushed.digest}
    assert harness.builder.find(harness.spec(name=name), "content-none") is None


@pytest.mark.parametrize("credentials", [None, StepCredentials(USER, WRONG)])
def test_push_with_wrong_credentials_is_denied(
    harness: BuilderHarness, registry: LocalRegistry, credentials: StepCredentials | None
) -> None:
    harness.write(Dockerfile="FROM box:1\n")
    built = harness.build("content-6", name=f"{registry.host}/team/denied")
    with pytest.raises(Denied, match=f"{registry.host}/team/denied:x") as denied:
        harness.builder.push(built, ["x"], credentials)
    assert "docker login" in str(denied.value.help)
    assert WRONG not in denied.value.message


def test_tag_moved_by_another_process_is_detected(
    harness: BuilderHarness, registry: LocalRegistry
) -> None:
    name, credentials = f"{registry.host}/team/moved", StepCredentials(USER, PASSWORD)
    harness.write(Dockerfile="FROM box:1\nLABEL whose=theirs\n")
    theirs = harness.builder.push(harness.build(name=name), ["theirs"], credentials)
    harness.write(Dockerfile="FROM box:1\nLABEL whose=ours\n")
    ours = harness.build(name=name)

    def move(_: str, line: str) -> None:
        if line.startswith("x: digest:"):
            harness.builder.push(theirs, ["x"], credentials)

    harness.builder._on_output = move
    with pytest.raises(DigestMismatch, match=f"team/moved:x.*{theirs.digest}"):
        harness.builder.push(ours, ["x"], credentials)


def test_unreachable_registry_is_named(harness: BuilderHarness) -> None:
    harness.write(Dockerfile="FROM box:1\n")
    built = harness.build("content-7", name="127.0.0.1:1/app")
    with pytest.raises(RegistryUnreachable, match=r"127\.0\.0\.1:1/app:x"):
        harness.builder.push(built, ["x"], None)


def test_image_that_was_never_built_cannot_be_pushed(
    harness: BuilderHarness, registry: LocalRegistry
) -> None:
    with pytest.raises(NoSuchImage, match="team/none:1"):
        harness.builder.push(Image(f"{registry.host}/team/none", "1"), ["1"], None)
