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
class Shelf:
    """A builder that keeps what it builds, by content."""

    there: dict[str, Image] = field(default_factory=dict)
    built: list[str | None] = field(default_factory=list)
    pushed: list[tuple[str, Sequence[str]]] = field(default_factory=list)
    digest: str = "sha256:pushed"
    own: dict[str, str] = field(default_factory=dict)
    """The images that it builds on without asking a registry."""
    persistent: bool = True

    def local_id(self, image: str) -> str | None:
        return self.own.get(image)

    def find(self, spec: BuildSpec, content_tag: str) -> Image | None:
        found = self.there.get(content_tag)
        return found and replace(found, tag=spec.tag or content_tag, built=False)

    def build(self, spec: BuildSpec, source: BuildSource, content_tag: str | None) -> Image:  # noqa: ARG002
        self.built.append(content_tag)
        image = Image(spec.name, spec.tag or content_tag or "some", id="sha256:id")
        if content_tag:
            self.there[content_tag] = image
        return image

    def push(self, image: Image, tags: Sequence[str], login: StepCredentials | None) -> Image:  # noqa: ARG002
        self.pushed.append((f"{image.name}:{image.tag}", tuple(tags)))
        return replace(image, digest=self.digest)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM base:1\nCOPY . .\n")
    return tmp_path


def images(
    shelf: Builder,
    digests: Mapping[str, str] | None = None,
    machine: str = "linux/amd64",
    asked: Callable[[BaseImage], None] = lambda _: None,
) -> ImagePipeline:
    """Images whose bases have these digests, by name."""

    def digest_of(base: BaseImage) -> str | None:
        asked(base)
        return ({"base:1": "sha256:base"} | dict(digests or {})).get(base.image)

    return ImagePipeline(
        lambda _: shelf, digest_of, lambda: VERSIONS, lambda: machine, CredentialStore({})
    )


def changed_folder(folder: Path) -> Path:
    (folder / "new").touch()
    return folder


def test_the_same_content_is_built_once_and_any_change_builds_anew(folder: Path) -> None:
    shelf, spec = Shelf(), BuildSpec(NAME, folder)
    first, second = images(shelf).build(spec), images(shelf).build(spec)
    assert (first.tag, first.built, second.built) == (second.tag, True, False)
    changes: list[Callable[[], tuple[ImagePipeline, BuildSpec]]] = [
        lambda: (images(shelf, {"base:1": "sha256:newer"}), spec),
        lambda: (images(shelf, machine="linux/arm64"), spec),
        lambda: (images(shelf), replace(spec, labels={"a": "b"})),
        lambda: (images(shelf), replace(spec, context=changed_folder(folder))),
    ]
    for change in changes:
        before = len(shelf.built)
        made, changed = change()
        made.build(changed)
        assert len(shelf.built) == before + 1


def test_bases_are_asked_for_by_the_platform_of_the_image(folder: Path) -> None:
    asked: list[str | None] = []
    made = images(Shelf(), asked=lambda base: asked.append(base.platform))
    made.build(BuildSpec(NAME, folder))
    made.build(BuildSpec(NAME, folder, platform="linux/arm64"))
    assert asked == ["linux/amd64", "linux/arm64"]
    asked.clear()
    made.build(BuildSpec(NAME, folder, platform="linux/amd64,linux/arm64"))
    assert asked == ["linux/amd64", "linux/arm64"]


@pytest.mark.parametrize("named", ["base:1", "docker.io/library/base:1"])
def test_a_base_that_this_command_has_pushed_is_what_its_registry_has(
    folder: Path, named: str
) -> None:
    """Whatever was known of it before."""
    (folder / "Dockerfile").write_text(f"FROM {named}\n")

    def tag(digest: str) -> str:
        made = images(Shelf(digest=digest), {named: "sha256:before"})
        made.push("base", "0", ["1"], None)
        return made.build(BuildSpec(NAME, folder)).tag

    assert tag("sha256:a") != tag("sha256:b")


def test_a_base_of_the_engine_counts_where_it_is_not_pulled(folder: Path) -> None:
    def tag(local: str | None, **options: bool) -> str:
        shelf = Shelf(own={"base:1": local} if local else {})
        return images(shelf).build(BuildSpec(NAME, folder, options=options)).tag

    assert tag("sha256:a", pull=False) != tag("sha256:b", pull=False)
    assert tag("sha256:a", pull=True) == tag("sha256:b", pull=True)
    assert tag(None, pull=False) == tag(None)


def test_a_base_that_is_named_by_its_digest_needs_no_registry(folder: Path) -> None:
    digest = f"sha256:{'a' * 64}"
    (folder / "Dockerfile").write_text(f"FROM base:1@{digest}\n")
    asked: list[BaseImage] = []
    image = images(Shelf(), asked=asked.append).build(BuildSpec(NAME, folder))
    assert image.tag.startswith("content-")
    assert asked == []


def test_an_image_whose_content_nobody_knows_is_always_built(folder: Path) -> None:
    shelf, spec = Shelf(), BuildSpec(NAME, folder, ignore_cache=True)
    for _ in range(2):
        images(shelf).build(spec)
    assert shelf.built == [None, None]


def test_what_is_pushed_is_pinned_under_all_its_tags(folder: Path) -> None:
    shelf = Shelf()
    made = images(shelf)
    image = made.build(BuildSpec(NAME, folder, tag="2"))
    assert made.pins == {}
    assert made.images == [image]
    pushed = made.push(NAME, "2", ["latest"], None)
    assert shelf.pushed == [(f"{NAME}:2", ("2", "latest"))]
    assert made.pins == {f"{NAME}:{tag}": f"{NAME}:{tag}@{shelf.digest}" for tag in ("2", "latest")}
    assert made.images == [pushed]
    assert pushed.pinned == f"{NAME}:2@{shelf.digest}"


def test_any_tag_of_an_image_leads_to_it_when_it_is_pushed(folder: Path) -> None:
    """Also where only its registry has it, and the engine knows nothing of it."""
    shelf, spec = Shelf(), BuildSpec(NAME, folder, tag="2", additional_tags=("latest",))
    images(shelf).build(spec)
    shelf.there = {key: replace(image, digest="sha256:there") for key, image in shelf.there.items()}
    shelf.digest = "sha256:there"
    made = images(shelf, asked=lambda _: None)
    assert made.build(spec).digest == "sha256:there"
    pushed = made.push(NAME, "latest", [], None)
    assert (pushed.tag, pushed.digest, pushed.built) == ("latest", "sha256:there", False)
    looked = images(shelf)
    looked.find(spec)
    found = looked.find_pushed(NAME, "latest", [])
    assert found
    assert (found.tag, found.digest) == ("latest", "sha256:there")


def test_without_a_tag_all_that_was_made_under_a_name_is_pushed(folder: Path) -> None:
    shelf = Shelf()
    made = images(shelf)
    made.build(BuildSpec(NAME, folder, tag="2", additional_tags=("latest",)))
    made.build(BuildSpec("other/name", folder, tag="4", labels={"a": "b"}))
    assert made.push(NAME, None, ["more"], None).tag == "2"
    assert shelf.pushed == [(f"{NAME}:2", ("2", "latest", "more"))]
    made.build(BuildSpec(NAME, changed_folder(folder), tag="3"))
    assert made.push(NAME, None, [], None).tag == "3"
    assert shelf.pushed[2:] == [(f"{NAME}:3", ("3",))]
    assert made.push("third/name", None, [], None).tag == "latest"


def test_without_a_tag_a_plan_knows_what_is_pushed(folder: Path) -> None:
    shelf, spec = Shelf(), BuildSpec(NAME, folder, tag="2", additional_tags=("latest",))
    content = images(shelf).build(spec) and shelf.built[0]
    looked = images(shelf, {f"{NAME}:{content}": "sha256:there"})
    looked.find(spec)
    found = looked.find_pushed(NAME, None, [])
    assert found
    assert (found.tag, found.digest) == ("2", "sha256:there")


def test_an_image_that_was_made_elsewhere_can_be_pushed() -> None:
    made = images(Shelf())
    assert not made.push(NAME, "2", [], None).built
    assert list(made.pins) == [f"{NAME}:2"]


def test_looking_builds_nothing_and_moves_no_tag(folder: Path) -> None:
    shelf, spec = Shelf(), BuildSpec(NAME, folder, tag="2")
    assert images(shelf).find(spec) is None
    assert images(shelf).find_pushed(NAME, "2", []) is None
    content = images(shelf).build(spec) and shelf.built[0]
    made = images(shelf, {f"{NAME}:{content}": "sha256:there"})
    found = made.find(spec)
    assert found
    assert (found.tag, found.built) == ("2", False)
    assert made.pins == {}
    published = made.find_pushed(NAME, "2", ["latest"])
    assert published
    assert published.digest == "sha256:there"
    assert made.pins[f"{NAME}:latest"] == f"{NAME}:latest@sha256:there"
    assert len(shelf.built) == 1
    assert shelf.pushed == []


def test_what_names_an_image_that_is_still_to_be_published_is_not_known(folder: Path) -> None:
    shelf, spec = Shelf(), BuildSpec(NAME, folder, tag="2")
    images(shelf).build(spec)
    made = images(shelf)
    assert made.find(spec)
    assert made.pins == {}
    assert made.find_pushed(NAME, "2", ["latest"]) is None
    assert {name: str(pin) for name, pin in made.pins.items()} == {
        f"{NAME}:{tag}": "(known after build)" for tag in ("2", "latest")
    }


def test_an_image_that_only_its_registry_has_is_pinned_without_a_push(folder: Path) -> None:
    shelf, spec = Shelf(), BuildSpec(NAME, folder, tag="2")
    images(shelf).build(spec)
    shelf.there = {key: replace(image, digest="sha256:there") for key, image in shelf.there.items()}
    built, looked = images(shelf), images(shelf)
    assert built.build(spec) == looked.find(spec)
    assert built.pins == looked.pins == {f"{NAME}:2": f"{NAME}:2@sha256:there"}


def test_versions_are_asked_for_where_a_dockerfile_is_made_up(folder: Path) -> None:
    def versions() -> ProjectVersions:
        raise AssertionError

    made = images(Shelf())
    assert "python3.12" in made.dockerfile_text(BuildSpec(NAME, folder, dockerfile=AUTO))
    made.versions = versions
    assert made.dockerfile_text(BuildSpec(NAME, folder)).startswith("FROM base:1")


@pytest.mark.parametrize(("keeps", "push"), [(True, False), (False, True)])
def test_an_image_is_kept_by_its_builder_or_its_registry(
    folder: Path, keeps: bool, push: bool
) -> None:
    made = images(Shelf(persistent=keeps))
    image = made.build(BuildSpec(NAME, folder, tag="1", additional_tags=("2",)))
    if push:
        made.push(image.name, "1", [], None)
    made.check_pushed()


def test_an_image_that_nobody_keeps_is_an_error(folder: Path) -> None:
    made = images(Shelf(persistent=False))
    made.build(BuildSpec(NAME, folder, tag="1"))
    with pytest.raises(
        UnpushedImage, match=f"'{NAME}:1' was built without Docker, and no step pushes"
    ):
        made.check_pushed()
