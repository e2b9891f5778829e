from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from deployctl.images.builder import Builder, StepCredentials
from deployctl.images.credentials import CredentialStore
from deployctl.images.dockerfile.stages import BaseImage
from deployctl.images.model import AUTO, BuildSpec, Image
from deployctl.images.pipeline import ImagePipeline, UnpushedImage
from deployctl.images.source import BuildSource, ProjectVersions

NAME = "reg.test/team/app"
VERSIONS = ProjectVersions("3.8.8", "3.12")


@dataclass
class FakeBuilder:
    """A builder that stores images by content tag."""

    stored: dict[str, Image] = field(default_factory=dict)
    built: list[str | None] = field(default_factory=list)
    pushed: list[tuple[str, Sequence[str]]] = field(default_factory=list)
    digest: str = "sha256:pushed"
    local_ids: dict[str, str] = field(default_factory=dict)
    """Local ids of base images."""
    persistent: bool = True

    def local_id(self, image: str) -> str | None:
        return self.local_ids.get(image)

    def find(self, spec: BuildSpec, content_tag: str) -> Image | None:
        found = self.stored.get(content_tag)
        return found and replace(found, tag=spec.tag or content_tag, built=False)

    def build(self, spec: BuildSpec, source: BuildSource, content_tag: str | None) -> Image:  # noqa: ARG002
        self.built.append(content_tag)
        image = Image(spec.name, spec.tag or content_tag or "some", id="sha256:id")
        if content_tag:
            self.stored[content_tag] = image
        return image

    def push(self, image: Image, tags: Sequence[str], credentials: StepCredentials | None) -> Image:  # noqa: ARG002
        self.pushed.append((f"{image.name}:{image.tag}", tuple(tags)))
        return replace(image, digest=self.digest)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM base:1\nCOPY . .\n")
    return tmp_path


def images(
    builder: Builder,
    digests: Mapping[str, str] | None = None,
    machine: str = "linux/amd64",
    resolved: Callable[[BaseImage], None] = lambda _: None,
) -> ImagePipeline:
    """A pipeline whose base images have these digests, by name."""

    def resolve_digest(base: BaseImage) -> str | None:
        resolved(base)
        return ({"base:1": "sha256:base"} | dict(digests or {})).get(base.image)

    return ImagePipeline(
        lambda _: builder, resolve_digest, lambda: VERSIONS, lambda: machine, CredentialStore({})
    )


def with_new_file(folder: Path) -> Path:
    (folder / "new").touch()
    return folder


def test_same_content_is_built_once_and_a_change_is_rebuilt(folder: Path) -> None:
    builder, spec = FakeBuilder(), BuildSpec(NAME, folder)
    first, second = images(builder).build(spec), images(builder).build(spec)
    assert (first.tag, first.built, second.built) == (second.tag, True, False)
    changes: list[Callable[[], tuple[ImagePipeline, BuildSpec]]] = [
        lambda: (images(builder, {"base:1": "sha256:newer"}), spec),
        lambda: (images(builder, machine="linux/arm64"), spec),
        lambda: (images(builder), replace(spec, labels={"a": "b"})),
        lambda: (images(builder), replace(spec, context=with_new_file(folder))),
    ]
    for change in changes:
        before = len(builder.built)
        pipeline, changed = change()
        pipeline.build(changed)
        assert len(builder.built) == before + 1


def test_base_digests_are_resolved_for_the_platform_of_the_image(folder: Path) -> None:
    resolved: list[str | None] = []
    pipeline = images(FakeBuilder(), resolved=lambda base: resolved.append(base.platform))
    pipeline.build(BuildSpec(NAME, folder))
    pipeline.build(BuildSpec(NAME, folder, platform="linux/arm64"))
    assert resolved == ["linux/amd64", "linux/arm64"]
    resolved.clear()
    pipeline.build(BuildSpec(NAME, folder, platform="linux/amd64,linux/arm64"))
    assert resolved == ["linux/amd64", "linux/arm64"]


@pytest.mark.parametrize("named", ["base:1", "docker.io/library/base:1"])
def test_base_pushed_by_this_command_has_its_pushed_digest(folder: Path, named: str) -> None:
    """Whatever was known of it before."""
    (folder / "Dockerfile").write_text(f"FROM {named}\n")

    def tag(digest: str) -> str:
        pipeline = images(FakeBuilder(digest=digest), {named: "sha256:before"})
        pipeline.push("base", "0", ["1"], None)
        return pipeline.build(BuildSpec(NAME, folder)).tag

    assert tag("sha256:a") != tag("sha256:b")


def test_local_base_is_used_without_pull(folder: Path) -> None:
    def tag(local: str | None, **options: bool) -> str:
        builder = FakeBuilder(local_ids={"base:1": local} if local else {})
        return images(builder).build(BuildSpec(NAME, folder, options=options)).tag

    assert tag("sha256:a", pull=False) != tag("sha256:b", pull=False)
    assert tag("sha256:a", pull=True) == tag("sha256:b", pull=True)
    assert tag(None, pull=False) == tag(None)


def test_base_with_a_digest_needs_no_registry(folder: Path) -> None:
    digest = f"sha256:{'a' * 64}"
    (folder / "Dockerfile").write_text(f"FROM base:1@{digest}\n")
    resolved: list[BaseImage] = []
    image = images(FakeBuilder(), resolved=resolved.append).build(BuildSpec(NAME, folder))
    assert image.tag.startswith("content-")
    assert resolved == []


def test_image_with_unknown_content_is_always_built(folder: Path) -> None:
    builder, spec = FakeBuilder(), BuildSpec(NAME, folder, ignore_cache=True)
    for _ in range(2):
        images(builder).build(spec)
    assert builder.built == [None, None]


def test_pushed_image_is_pinned_under_all_its_tags(folder: Path) -> None:
    builder = FakeBuilder()
    pipeline = images(builder)
    image = pipeline.build(BuildSpec(NAME, folder, tag="2"))
    assert pipeline.pins == {}
    assert pipeline.images == [image]
    pushed = pipeline.push(NAME, "2", ["latest"], None)
    assert builder.pushed == [(f"{NAME}:2", ("2", "latest"))]
    assert pipeline.pins == {
        f"{NAME}:{tag}": f"{NAME}:{tag}@{builder.digest}" for tag in ("2", "latest")
    }
    assert pipeline.images == [pushed]
    assert pushed.pinned == f"{NAME}:2@{builder.digest}"


def test_push_finds_an_image_by_any_of_its_tags(folder: Path) -> None:
    """Also where only its registry has it, and the engine knows nothing of it."""
    builder, spec = FakeBuilder(), BuildSpec(NAME, folder, tag="2", additional_tags=("latest",))
    images(builder).build(spec)
    builder.stored = {
        key: replace(image, digest="sha256:registry") for key, image in builder.stored.items()
    }
    builder.digest = "sha256:registry"
    pipeline = images(builder, resolved=lambda _: None)
    assert pipeline.build(spec).digest == "sha256:registry"
    pushed = pipeline.push(NAME, "latest", [], None)
    assert (pushed.tag, pushed.digest, pushed.built) == ("latest", "sha256:registry", False)
    lookup = images(builder)
    lookup.find(spec)
    found = lookup.find_pushed(NAME, "latest", [])
    assert found
    assert (found.tag, found.digest) == ("latest", "sha256:registry")


def test_push_without_a_tag_pushes_all_images_of_the_name(folder: Path) -> None:
    builder = FakeBuilder()
    pipeline = images(builder)
    pipeline.build(BuildSpec(NAME, folder, tag="2", additional_tags=("latest",)))
    pipeline.build(BuildSpec("other/name", folder, tag="4", labels={"a": "b"}))
    assert pipeline.push(NAME, None, ["more"], None).tag == "2"
    assert builder.pushed == [(f"{NAME}:2", ("2", "latest", "more"))]
    pipeline.build(BuildSpec(NAME, with_new_file(folder), tag="3"))
    assert pipeline.push(NAME, None, [], None).tag == "3"
    assert builder.pushed[2:] == [(f"{NAME}:3", ("3",))]
    assert pipeline.push("third/name", None, [], None).tag == "latest"


def test_find_pushed_without_a_tag(folder: Path) -> None:
    builder, spec = FakeBuilder(), BuildSpec(NAME, folder, tag="2", additional_tags=("latest",))
    content = images(builder).build(spec) and builder.built[0]
    lookup = images(builder, {f"{NAME}:{content}": "sha256:registry"})
    lookup.find(spec)
    found = lookup.find_pushed(NAME, None, [])
    assert found
    assert (found.tag, found.digest) == ("2", "sha256:registry")


def test_push_of_an_image_that_was_built_elsewhere() -> None:
    pipeline = images(FakeBuilder())
    assert not pipeline.push(NAME, "2", [], None).built
    assert list(pipeline.pins) == [f"{NAME}:2"]


def test_find_builds_nothing_and_moves_no_tag(folder: Path) -> None:
    builder, spec = FakeBuilder(), BuildSpec(NAME, folder, tag="2")
    assert images(builder).find(spec) is None
    assert images(builder).find_pushed(NAME, "2", []) is None
    content = images(builder).build(spec) and builder.built[0]
    pipeline = images(builder, {f"{NAME}:{content}": "sha256:registry"})
    found = pipeline.find(spec)
    assert found
    assert (found.tag, found.built) == ("2", False)
    assert pipeline.pins == {}
    published = pipeline.find_pushed(NAME, "2", ["latest"])
    assert published
    assert published.digest == "sha256:registry"
    assert pipeline.pins[f"{NAME}:latest"] == f"{NAME}:latest@sha256:registry"
    assert len(builder.built) == 1
    assert builder.pushed == []


def test_pin_of_an_unpushed_image_is_unknown(folder: Path) -> None:
    builder, spec = FakeBuilder(), BuildSpec(NAME, folder, tag="2")
    images(builder).build(spec)
    pipeline = images(builder)
    assert pipeline.find(spec)
    assert pipeline.pins == {}
    assert pipeline.find_pushed(NAME, "2", ["latest"]) is None
    assert {name: str(pin) for name, pin in pipeline.pins.items()} == {
        f"{NAME}:{tag}": "(known after build)" for tag in ("2", "latest")
    }


def test_image_that_only_the_registry_has_is_pinned_without_a_push(folder: Path) -> None:
    builder, spec = FakeBuilder(), BuildSpec(NAME, folder, tag="2")
    images(builder).build(spec)
    builder.stored = {
        key: replace(image, digest="sha256:registry") for key, image in builder.stored.items()
    }
    built, lookup = images(builder), images(builder)
    assert built.build(spec) == lookup.find(spec)
    assert built.pins == lookup.pins == {f"{NAME}:2": f"{NAME}:2@sha256:registry"}


def test_versions_are_read_for_a_generated_dockerfile_only(folder: Path) -> None:
    def versions() -> ProjectVersions:
        raise AssertionError

    pipeline = images(FakeBuilder())
    assert "python3.12" in pipeline.dockerfile_text(BuildSpec(NAME, folder, dockerfile=AUTO))
    pipeline.versions = versions
    assert pipeline.dockerfile_text(BuildSpec(NAME, folder)).startswith("FROM base:1")


@pytest.mark.parametrize(("persistent", "push"), [(True, False), (False, True)])
def test_image_is_kept_by_its_builder_or_its_registry(
    folder: Path, persistent: bool, push: bool
) -> None:
    pipeline = images(FakeBuilder(persistent=persistent))
    image = pipeline.build(BuildSpec(NAME, folder, tag="1", additional_tags=("2",)))
    if push:
        pipeline.push(image.name, "1", [], None)
    pipeline.check_pushed(None)


def test_unpushed_image_of_a_non_persistent_builder_is_an_error(folder: Path) -> None:
    pipeline = images(FakeBuilder(persistent=False))
    pipeline.build(BuildSpec(NAME, folder, tag="1"))
    with pytest.raises(
        UnpushedImage, match=f"'{NAME}:1' was built without Docker, and no step pushes"
    ):
        pipeline.check_pushed(None)
