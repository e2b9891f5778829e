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
from deployctl.images.builder import Builder, Login
from deployctl.images.content_tag import DigestOf, content_tag
from deployctl.images.credentials import Logins
from deployctl.images.dockerfile.stages import Base
from deployctl.images.model import BuildSpec, Image
from deployctl.images.reference import LATEST, Reference
from deployctl.images.source import Source, Versions, read
from deployctl.templating.values import Unknown

Choose: TypeAlias = Callable[[BuildSpec | None], Builder]
"""Who makes an image; for None, who pushes one that this command has not made."""


class NotKept(DeployctlError):
    """An image was built that nobody has when the command has ended."""

    code = "DC740"


class ImageProvider(Protocol):
    """What build and push steps ask for images. May be used by many threads; every method raises
    DeployctlErrors."""

    def log_in(self, name: str, login: Login) -> None:
        """From now on, registries are asked about images of this name by this login."""

    def find(self, recipe: BuildSpec) -> Image | None:
        """The image that building the recipe would give, if it is there already."""

    def find_published(self, name: str, tag: str | None, more: Sequence[str]) -> Image | None:
        """The image that publishing an image which was found would give, if it is published."""

    def make(self, recipe: BuildSpec) -> Image:
        """Builds an image, or finds it."""

    def publish(
        self, name: str, tag: str | None, more: Sequence[str], login: Login | None
    ) -> Image:
        """Puts an image into its registry, under `tag` and the tags `more`; without a tag all that
        were made under this name, with the tags that they have."""

    def check_kept(self) -> None:
        """Raises NotKept for an image that nobody has any more when the command has ended."""

    def dockerfile(self, recipe: BuildSpec) -> str:
        """The text of the Dockerfile that the recipe is built by."""

    @property
    def pins(self) -> Mapping[str, Json]:
        """`name:tag` of what was published → how to name exactly that; `Unknown` for what was
        looked for and is not published yet."""


@dataclass(frozen=True, slots=True)
class _Made:
    builder: Builder
    image: Image
    tags: tuple[str, ...]
    """All that the image has."""


@dataclass(slots=True)
class ImagePipeline:
    """Makes and publishes images."""

    choose: Choose
    digest_of: DigestOf
    """Is asked for images with their platform."""
    versions: Callable[[], Versions]
    """Of Prefect and Python in the project, for a Dockerfile that is made up."""
    machine: Callable[[], str]
    """The platform that builds, which images are for whose recipe names none."""
    logins: Logins
    """Those that registries are asked with."""
    pins: dict[str, Json] = field(default_factory=dict)
    _made: dict[str, _Made] = field(default_factory=dict)
    """`name:tag`, with every tag of an image."""
    _found: dict[str, tuple[Image, Base]] = field(default_factory=dict)
    """The same of images that were found, with where they are if they are published."""
    _pushed: dict[Reference, str] = field(default_factory=dict)
    """The digests of what was published."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def log_in(self, name: str, login: Login) -> None:
        """From now on, registries are asked about images of this name by this login."""
        self.logins.give(Reference.parse(name), login)

    def find(self, recipe: BuildSpec) -> Image | None:
        """The image that building the recipe would give, if it is there already.

        No tag of the recipe moves to it.
        """
        content = self._content(recipe, self._source(recipe))
        if content is None:
            return None
        untagged = replace(recipe, tag=None, additional_tags=())
        image = self.choose(recipe).find(untagged, content)
        if image is None:
            return None
        published = Base(f"{recipe.name}:{content}", recipe.platform or self.machine())
        image = replace(image, tag=recipe.tag or content)
        self._pin(image, recipe.additional_tags)
        with self._lock:
            for tag in (image.tag, *recipe.additional_tags):
                self._found[f"{image.name}:{tag}"] = (image, published)
        return image

    def find_published(self, name: str, tag: str | None, more: Sequence[str]) -> Image | None:
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
        digest = image.digest or self.digest_of(published)
        image = replace(image, tag=tag or image.tag, digest=digest)
        self._pin(image, more)
        if image.digest:
            return image
        with self._lock:
            self.pins |= {f"{name}:{each}": Unknown("push", "image") for each in (image.tag, *more)}
        return None

    def make(self, recipe: BuildSpec) -> Image:
        """Builds an image, or finds it."""
        source = self._source(recipe)
        content = self._content(recipe, source)
        builder = self.choose(recipe)
        image = builder.find(recipe, content) if content else None
        if image is None:
            image = builder.build(recipe, source, content)
        self._keep(builder, image, (image.tag, *recipe.additional_tags))
        return image

    def publish(
        self, name: str, tag: str | None, more: Sequence[str], login: Login | None
    ) -> Image:
        """Puts an image into its registry, under `tag` and the tags `more`; without a tag all that
        were made under this name, with the tags that they have."""
        found = self._made_as(name, tag)
        if not found:
            image = Image(name, tag or LATEST, built=False)
            found = [_Made(self.choose(None), image, (image.tag,))]
        for made in found:
            tags = tuple(dict.fromkeys([*([tag] if tag else made.tags), *more]))
            pushed = made.builder.push(replace(made.image, tag=tags[0]), tags, login)
            self._keep(made.builder, pushed, tags)
            if pushed.digest:
                names = [Reference.parse(f"{name}:{each}") for each in tags]
                self._pushed |= dict.fromkeys(names, pushed.digest)
        return pushed

    def check_kept(self) -> None:
        """Raises NotKept for an image that nobody has any more when the command has ended."""
        with self._lock:
            every = list(self._made.values())
        sent = {(made.image.name, made.image.id) for made in every if made.image.digest}
        for made in every:
            name, tag = made.image.name, made.image.tag
            if not made.builder.keeps and (name, made.image.id) not in sent:
                raise NotKept(
                    f"'{name}:{tag}' was built without Docker, and no step pushes it",
                    help="push it with a `push_docker_image` step, or build it with Docker",
                )

    def dockerfile(self, recipe: BuildSpec) -> str:
        """The text of the Dockerfile that the recipe is built by."""
        return self._source(recipe).text

    @property
    def made(self) -> list[Image]:
        """All images that were made or published, as they are now."""
        with self._lock:
            return [
                made.image
                for key, made in self._made.items()
                if key == f"{made.image.name}:{made.image.tag}"
            ]

    def _made_as(self, name: str, tag: str | None) -> list[_Made]:
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
        made = _Made(builder, image, tuple(dict.fromkeys(tags)))
        with self._lock:
            self._made |= {f"{image.name}:{tag}": made for tag in made.tags}
        self._pin(image, tags)

    def _source(self, recipe: BuildSpec) -> Source:
        return read(recipe, self.versions)

    def _content(self, recipe: BuildSpec, source: Source) -> str | None:
        machine = self.machine()

        def digest_of(base: Base) -> str | None:
            reference = Reference.parse(base.image)
            if reference.digest:
                return reference.digest
            if not recipe.options.get("pull", True) and (
                local := self.choose(recipe).local(base.image)
            ):
                return local
            pushed = self._pushed.get(replace(reference, tag=reference.tag or LATEST))
            wanted = (base.platform or recipe.platform or machine).split(",")
            digests = [pushed or self.digest_of(replace(base, platform=each)) for each in wanted]
            return None if None in digests else ",".join(map(str, digests))

        return content_tag(
            recipe, source.dockerfile, source.text, source.entries, digest_of, machine
        )


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

    def log_in(self, name: str, login: Login) -> None:
        """No registry is asked."""

    def find(self, recipe: BuildSpec) -> Image | None:  # noqa: ARG002
        """The image."""
        return self._image

    def find_published(self, name: str, tag: str | None, more: Sequence[str]) -> Image | None:  # noqa: ARG002
        """The image."""
        return self._image

    def make(self, recipe: BuildSpec) -> Image:  # noqa: ARG002
        """The image."""
        return self._image

    def publish(
        self,
        name: str,  # noqa: ARG002
        tag: str | None,  # noqa: ARG002
        more: Sequence[str],  # noqa: ARG002
        login: Login | None,  # noqa: ARG002
    ) -> Image:
        """The image."""
        return self._image

    def check_kept(self) -> None:
        """It was made elsewhere."""

    def dockerfile(self, recipe: BuildSpec) -> str:  # noqa: ARG002
        """None is needed."""
        return ""
