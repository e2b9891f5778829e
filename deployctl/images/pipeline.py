"""The images of one command: each is built once, and not at all where it is there already.

An image is known by its content before it is built. So a step that names no tag gets one that says
what is in the image: a deploy without changes finds everything as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.images.builder import Builder, StepCredentials
from deployctl.images.content_tag import ResolveDigest, content_tag
from deployctl.images.credentials import CredentialStore
from deployctl.images.dockerfile.stages import BaseImage
from deployctl.images.model import BuildSpec, Image
from deployctl.images.reference import LATEST, Reference
from deployctl.images.source import BuildSource, ProjectVersions, read_source
from deployctl.templating.values import Unknown

SelectBuilder: TypeAlias = Callable[[BuildSpec | None], Builder]
"""Who makes an image; for None, who pushes one that this command has not made."""


class UnpushedImage(DeployctlError):
    """An image was built that nobody has when the command has ended."""

    code = "DC740"


class ImageProvider(Protocol):
    """What build and push steps ask for images. May be used by many threads; every method raises
    DeployctlErrors."""

    def use_credentials(self, name: str, login: StepCredentials) -> None:
        """From now on, registries are asked about images of this name by this login."""

    def find(self, spec: BuildSpec) -> Image | None:
        """The image that building the spec would give, if it is there already."""

    def find_pushed(self, name: str, tag: str | None, more: Sequence[str]) -> Image | None:
        """The image that publishing an image which was found would give, if it is published."""

    def build(self, spec: BuildSpec) -> Image:
        """Builds an image, or finds it."""

    def push(
        self, name: str, tag: str | None, more: Sequence[str], login: StepCredentials | None
    ) -> Image:
        """Puts an image into its registry, under `tag` and the tags `more`; without a tag all that
        were made under this name, with the tags that they have."""

    def check_pushed(self) -> None:
        """Raises NotKept for an image that nobody has any more when the command has ended."""

    def dockerfile_text(self, spec: BuildSpec) -> str:
        """The text of the Dockerfile that the spec is built by."""

    @property
    def pins(self) -> Mapping[str, Json]:
        """`name:tag` of what was published → how to name exactly that; `Unknown` for what was
        looked for and is not published yet."""


@dataclass(frozen=True, slots=True)
class _BuiltImage:
    builder: Builder
    image: Image
    tags: tuple[str, ...]
    """All that the image has."""


@dataclass(slots=True)
class ImagePipeline:
    """Makes and publishes images."""

    select_builder: SelectBuilder
    resolve_digest: ResolveDigest
    """Is asked for images with their platform."""
    versions: Callable[[], ProjectVersions]
    """Of Prefect and Python in the project, for a Dockerfile that is made up."""
    build_platform: Callable[[], str]
    """The platform that builds, which images are for whose spec names none."""
    logins: CredentialStore
    """Those that registries are asked with."""
    pins: dict[str, Json] = field(default_factory=dict)
    _made: dict[str, _BuiltImage] = field(default_factory=dict)
    """`name:tag`, with every tag of an image."""
    _found: dict[str, tuple[Image, BaseImage]] = field(default_factory=dict)
    """The same of images that were found, with where they are if they are published."""
    _pushed: dict[Reference, str] = field(default_factory=dict)
    """The digests of what was published."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def use_credentials(self, name: str, login: StepCredentials) -> None:
        """From now on, registries are asked about images of this name by this login."""
        self.logins.give(Reference.parse(name), login)

    def find(self, spec: BuildSpec) -> Image | None:
        """The image that building the spec would give, if it is there already.

        No tag of the spec moves to it.
        """
        content = self._content(spec, self._source(spec))
        if content is None:
            return None
        untagged = replace(spec, tag=None, additional_tags=())
        image = self.select_builder(spec).find(untagged, content)
        if image is None:
            return None
        published = BaseImage(f"{spec.name}:{content}", spec.platform or self.build_platform())
        image = replace(image, tag=spec.tag or content)
        self._pin(image, spec.additional_tags)
        with self._lock:
            for tag in (image.tag, *spec.additional_tags):
                self._found[f"{image.name}:{tag}"] = (image, published)
        return image

    def find_pushed(self, name: str, tag: str | None, more: Sequence[str]) -> Image | None:
        """The image that publishing an image which was found would give, if it is published."""
        with self._lock:
            found = {
                each
                for key, each in self._found.items()
                if (each[0].name == name if tag is None else key == f"{name}:{tag}")
            }
        if len(found) != 1:
            return None
        ((image, published),) = found
        digest = image.digest or self.resolve_digest(published)
        image = replace(image, tag=tag or image.tag, digest=digest)
        self._pin(image, more)
        if image.digest:
            return image
        with self._lock:
            self.pins |= {f"{name}:{each}": Unknown("push", "image") for each in (image.tag, *more)}
        return None

    def build(self, spec: BuildSpec) -> Image:
        """Builds an image, or finds it."""
        source = self._source(spec)
        content = self._content(spec, source)
        builder = self.select_builder(spec)
        image = builder.find(spec, content) if content else None
        if image is None:
            image = builder.build(spec, source, content)
        self._keep(builder, image, (image.tag, *spec.additional_tags))
        return image

    def push(
        self, name: str, tag: str | None, more: Sequence[str], login: StepCredentials | None
    ) -> Image:
        """Puts an image into its registry, under `tag` and the tags `more`; without a tag all that
        were made under this name, with the tags that they have."""
        found = self._made_as(name, tag)
        if not found:
            image = Image(name, tag or LATEST, built=False)
            found = [_BuiltImage(self.select_builder(None), image, (image.tag,))]
        for made in found:
            tags = tuple(dict.fromkeys([*([tag] if tag else made.tags), *more]))
            pushed = made.builder.push(replace(made.image, tag=tags[0]), tags, login)
            self._keep(made.builder, pushed, tags)
            if pushed.digest:
                names = [Reference.parse(f"{name}:{each}") for each in tags]
                self._pushed |= dict.fromkeys(names, pushed.digest)
        return pushed

    def check_pushed(self) -> None:
        """Raises NotKept for an image that nobody has any more when the command has ended."""
        with self._lock:
            every = list(self._made.values())
        sent = {(made.image.name, made.image.id) for made in every if made.image.digest}
        for made in every:
            name, tag = made.image.name, made.image.tag
            if not made.builder.persistent and (name, made.image.id) not in sent:
                raise UnpushedImage(
                    f"'{name}:{tag}' was built without Docker, and no step pushes it",
                    help="push it with a `push_docker_image` step, or build it with Docker",
                )

    def dockerfile_text(self, spec: BuildSpec) -> str:
        """The text of the Dockerfile that the spec is built by."""
        return self._source(spec).text

    @property
    def images(self) -> list[Image]:
        """All images that were made or published, as they are now."""
        with self._lock:
            return [
                made.image
                for key, made in self._made.items()
                if key == f"{made.image.name}:{made.image.tag}"
            ]

    def _made_as(self, name: str, tag: str | None) -> list[_BuiltImage]:
        """What was made under a name; with a tag the one that has it."""
        with self._lock:
            every = {
                id(made): made
                for key, made in self._made.items()
                if (made.image.name == name if tag is None else key == f"{name}:{tag}")
            }
        return list(every.values())

    def _pin(self, image: Image, more: Sequence[str]) -> None:
        """Notes under which names an image is to be deployed by digest, if a registry has it."""
        if image.digest is None:
            return
        with self._lock:
            for tag in (image.tag, *more):
                self.pins[f"{image.name}:{tag}"] = replace(image, tag=tag).pinned

    def _keep(self, builder: Builder, image: Image, tags: Sequence[str]) -> None:
        made = _BuiltImage(builder, image, tuple(dict.fromkeys(tags)))
        with self._lock:
            self._made |= {f"{image.name}:{tag}": made for tag in made.tags}
        self._pin(image, tags)

    def _source(self, spec: BuildSpec) -> BuildSource:
        return read_source(spec, self.versions)

    def _content(self, spec: BuildSpec, source: BuildSource) -> str | None:
        machine = self.build_platform()

        def digest_of(base: BaseImage) -> str | None:
            reference = Reference.parse(base.image)
            if reference.digest:
                return reference.digest
            if not spec.options.get("pull", True) and (
                local := self.select_builder(spec).local_id(base.image)
            ):
                return local
            pushed = self._pushed.get(replace(reference, tag=reference.tag or LATEST))
            wanted = (base.platform or spec.platform or machine).split(",")
            digests = [
                pushed or self.resolve_digest(replace(base, platform=each)) for each in wanted
            ]
            return None if None in digests else ",".join(map(str, digests))

        return content_tag(spec, source.dockerfile, source.text, source.entries, digest_of, machine)


class FixedImage:
    """A maker that makes nothing: there is one image, made elsewhere, and all steps give that."""

    def __init__(self, reference: str) -> None:
        """`reference`: the image as jobs are to name it. Raises BadReference."""
        parsed = Reference.parse(reference)
        digest = f"@{parsed.digest}" if parsed.digest else ""
        tag = f":{parsed.tag}" if parsed.tag else ""
        name = reference.removesuffix(digest).removesuffix(tag)
        self._image = Image(name, parsed.tag or LATEST, parsed.digest, built=False)
        self.pins: Mapping[str, Json] = {f"{name}:{self._image.tag}": reference}

    def use_credentials(self, name: str, login: StepCredentials) -> None:
        """No registry is asked."""

    def find(self, spec: BuildSpec) -> Image | None:  # noqa: ARG002
        """The image."""
        return self._image

    def find_pushed(self, name: str, tag: str | None, more: Sequence[str]) -> Image | None:  # noqa: ARG002
        """The image."""
        return self._image

    def build(self, spec: BuildSpec) -> Image:  # noqa: ARG002
        """The image."""
        return self._image

    def push(
        self,
        name: str,  # noqa: ARG002
        tag: str | None,  # noqa: ARG002
        more: Sequence[str],  # noqa: ARG002
        login: StepCredentials | None,  # noqa: ARG002
    ) -> Image:
        """The image."""
        return self._image

    def check_pushed(self) -> None:
        """It was made elsewhere."""

    def dockerfile_text(self, spec: BuildSpec) -> str:  # noqa: ARG002
        """None is needed."""
        return ""
