"""Images of one command: builds each image once, and not at all if it exists.

An image is identified by its content tag before it is built. A step without a tag gets the content
tag, so a deploy without changes finds every image unchanged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias, TypeVar

from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.images.builder import Builder, StepCredentials
from deployctl.images.content_tag import ResolveDigest, content_tag
from deployctl.images.credentials import CredentialStore
from deployctl.images.dockerfile.stages import BaseImage
from deployctl.images.model import BuildSpec, Image
from deployctl.images.reference import LATEST, ImageReference
from deployctl.images.source import BuildSource, ProjectVersions, read_source
from deployctl.templating.values import Unknown

SelectBuilder: TypeAlias = Callable[[BuildSpec | None], Builder]
"""Returns the builder of an image; for None, the one that pushes images of other commands."""

T = TypeVar("T")


class UnpushedImage(DeployctlError):
    """An image that was built is lost when the command ends."""

    code = "DC740"


class ImageProvider(Protocol):
    """Images for build and push steps. Thread-safe; every method raises DeployctlErrors."""

    def use_credentials(self, name: str, credentials: StepCredentials) -> None:
        """Uses these credentials for lookups of images of this name."""

    def find(self, spec: BuildSpec) -> Image | None:
        """The existing image that `build` would return, or None."""

    def find_pushed(self, name: str, tag: str | None, more: Sequence[str]) -> Image | None:
        """The already pushed image that `push` would return, or None; for images of `find`."""

    def build(self, spec: BuildSpec) -> Image:
        """Builds an image, unless it exists."""

    def push(
        self, name: str, tag: str | None, more: Sequence[str], credentials: StepCredentials | None
    ) -> Image:
        """Pushes an image under `tag` and the tags `more`. Without a tag, pushes all images of
        this name that were built, under the tags that they have."""

    def check_pushed(self, used: Collection[str] | None) -> None:
        """Raises UnpushedImage if an image is lost when the command ends.

        Only one of `used` (`name:tag`), unless that is None.
        """

    def dockerfile_text(self, spec: BuildSpec) -> str:
        """The text of the Dockerfile that the spec is built from."""

    @property
    def pins(self) -> Mapping[str, Json]:
        """`name:tag` of each pushed image → its reference with digest; `Unknown` for an image that
        was looked up and is not pushed yet."""


@dataclass(frozen=True, slots=True)
class _BuiltImage:
    builder: Builder
    image: Image
    tags: tuple[str, ...]
    """All tags of the image."""


@dataclass(slots=True)
class ImagePipeline:
    """Builds and pushes images with a builder."""

    select_builder: SelectBuilder
    resolve_digest: ResolveDigest
    """Called with images whose platform is set."""
    versions: Callable[[], ProjectVersions]
    """Versions for `dockerfile: auto`."""
    build_platform: Callable[[], str]
    """Platform of the build machine, the default for a spec without a platform."""
    credentials: CredentialStore
    """Credentials for lookups."""
    pins: dict[str, Json] = field(default_factory=dict)
    _built: dict[str, _BuiltImage] = field(default_factory=dict)
    """By `name:tag`, for every tag of an image."""
    _found: dict[str, tuple[Image, BaseImage]] = field(default_factory=dict)
    """Images of `find` by `name:tag`, with the reference to look for in the registry."""
    _pushed: dict[ImageReference, str] = field(default_factory=dict)
    """Digests of pushed images."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def use_credentials(self, name: str, credentials: StepCredentials) -> None:
        """Uses these credentials for lookups of images of this name."""
        self.credentials.set_for_repository(ImageReference.parse(name), credentials)

    def find(self, spec: BuildSpec) -> Image | None:
        """The existing image that `build` would return, or None. Moves no tag to it."""
        content = self._content_tag(spec, self._source(spec))
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
        """The already pushed image that `push` would return, or None; for images of `find`."""
        with self._lock:
            found = set(_of_name(self._found, name, tag))
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
        """Builds an image, unless it exists."""
        source = self._source(spec)
        content = self._content_tag(spec, source)
        builder = self.select_builder(spec)
        image = builder.find(spec, content) if content else None
        if image is None:
            image = builder.build(spec, source, content)
        self._record(builder, image, (image.tag, *spec.additional_tags))
        return image

    def push(
        self, name: str, tag: str | None, more: Sequence[str], credentials: StepCredentials | None
    ) -> Image:
        """Pushes an image under `tag` and the tags `more`. Without a tag, pushes all images of
        this name that were built, under the tags that they have."""
        with self._lock:
            targets = list({id(each): each for each in _of_name(self._built, name, tag)}.values())
        if not targets:
            image = Image(name, tag or LATEST, built=False)
            targets = [_BuiltImage(self.select_builder(None), image, (image.tag,))]
        for target in targets:
            tags = tuple(dict.fromkeys([*([tag] if tag else target.tags), *more]))
            pushed = target.builder.push(replace(target.image, tag=tags[0]), tags, credentials)
            self._record(target.builder, pushed, tags)
            if pushed.digest:
                names = [ImageReference.parse(f"{name}:{each}") for each in tags]
                self._pushed |= dict.fromkeys(names, pushed.digest)
        return pushed

    def check_pushed(self, used: Collection[str] | None) -> None:
        """Raises UnpushedImage if an image is lost when the command ends.

        Only one of `used` (`name:tag`), unless that is None.
        """
        with self._lock:
            every = list(self._built.values())
        pushed = {(each.image.name, each.image.id) for each in every if each.image.digest}
        for each in every:
            image = f"{each.image.name}:{each.image.tag}"
            is_lost = not each.builder.persistent and (each.image.name, each.image.id) not in pushed
            if is_lost and (used is None or image in used):
                raise UnpushedImage(
                    f"'{image}' was built without Docker, and no step pushes it",
                    help="Add a `push_docker_image` step, or build the image with Docker.",
                )

    def dockerfile_text(self, spec: BuildSpec) -> str:
        """The text of the Dockerfile that the spec is built from."""
        return self._source(spec).text

    @property
    def images(self) -> list[Image]:
        """All images that were built or pushed, in their current state."""
        with self._lock:
            return [
                each.image
                for key, each in self._built.items()
                if key == f"{each.image.name}:{each.image.tag}"
            ]

    def _pin(self, image: Image, more: Sequence[str]) -> None:
        """Records the pinned references of an image that is in a registry."""
        if image.digest is None:
            return
        with self._lock:
            for tag in (image.tag, *more):
                self.pins[f"{image.name}:{tag}"] = replace(image, tag=tag).pinned

    def _record(self, builder: Builder, image: Image, tags: Sequence[str]) -> None:
        built = _BuiltImage(builder, image, tuple(dict.fromkeys(tags)))
        with self._lock:
            self._built |= {f"{image.name}:{tag}": built for tag in built.tags}
        self._pin(image, tags)

    def _source(self, spec: BuildSpec) -> BuildSource:
        return read_source(spec, self.versions)

    def _content_tag(self, spec: BuildSpec, source: BuildSource) -> str | None:
        build_platform = self.build_platform()

        def _resolve_digest(base: BaseImage) -> str | None:
            reference = ImageReference.parse(base.image)
            if reference.digest:
                return reference.digest
            if not spec.options.get("pull", True) and (
                local := self.select_builder(spec).local_id(base.image)
            ):
                return local
            pushed = self._pushed.get(replace(reference, tag=reference.tag or LATEST))
            platforms = (base.platform or spec.platform or build_platform).split(",")
            digests = [
                pushed or self.resolve_digest(replace(base, platform=each)) for each in platforms
            ]
            return None if None in digests else ",".join(map(str, digests))

        return content_tag(
            spec, source.dockerfile, source.text, source.entries, _resolve_digest, build_platform
        )


def _of_name(images: Mapping[str, T], name: str, tag: str | None) -> list[T]:
    """The values for `name:tag`; without a tag, for every tag of the name."""
    return [
        each
        for key, each in images.items()
        if (key.rpartition(":")[0] == name if tag is None else key == f"{name}:{tag}")
    ]


class FixedImage:
    """An ImageProvider for one image that was built elsewhere; every step returns it."""

    def __init__(self, reference: str) -> None:
        """`reference`: the image as Jobs are to name it. Raises BadReference."""
        parsed = ImageReference.parse(reference)
        digest = f"@{parsed.digest}" if parsed.digest else ""
        tag = f":{parsed.tag}" if parsed.tag else ""
        name = reference.removesuffix(digest).removesuffix(tag)
        self._image = Image(name, parsed.tag or LATEST, parsed.digest, built=False)
        self.pins: Mapping[str, Json] = {f"{name}:{self._image.tag}": reference}

    def build(self, *_: object) -> Image:
        """Returns the image."""
        return self._image

    find = find_pushed = push = build

    def use_credentials(self, *_: object) -> None:
        """Does nothing: no registry is used."""

    def check_pushed(self, used: Collection[str] | None) -> None:
        """Does nothing: nothing is built."""

    def dockerfile_text(self, *_: object) -> str:
        """Returns an empty text: no Dockerfile is needed."""
        return ""
