"""The images of one command: each is built once, and not at all where it is there already.

An image is known by its content before it is built. So a step that names no tag gets one that says
what is in the image: a deploy without changes finds everything as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from deployctl.images.building import Builder, Login
from deployctl.images.content import DigestOf, content_tag
from deployctl.images.model import Image, Recipe
from deployctl.images.source import Source, Versions, read

Choose: TypeAlias = Callable[[Recipe | None], Builder]
"""Who makes an image; for None, who pushes one that this command has not made."""


@dataclass(slots=True)
class Images:
    """Makes and publishes images. May be used by many threads; raises DeployctlErrors."""

    choose: Choose
    digest_of: DigestOf
    versions: Callable[[], Versions]
    """Of Prefect and Python in the project, for a Dockerfile that is made up."""
    machine: str
    """The platform that builds where a recipe names none."""
    pins: dict[str, str] = field(default_factory=dict)
    """`name:tag` of what was pushed → the same with its digest."""
    _made: dict[str, tuple[Builder, Image]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, recipe: Recipe) -> Image | None:
        """The image that building the recipe would give, if it is there already."""
        source = self._source(recipe)
        content = self._content(recipe, source)
        return self.choose(recipe).find(recipe, content) if content else None

    def make(self, recipe: Recipe) -> Image:
        """Builds an image, or finds it."""
        source = self._source(recipe)
        content = self._content(recipe, source)
        builder = self.choose(recipe)
        image = builder.find(recipe, content) if content else None
        if image is None:
            image = builder.build(recipe, content)
        with self._lock:
            self._made[f"{image.name}:{image.tag}"] = (builder, image)
        return image

    def publish(self, name: str, tag: str, more: Sequence[str], login: Login | None) -> Image:
        """Puts an image into its registry, under `tag` and the tags `more`."""
        with self._lock:
            made = self._made.get(f"{name}:{tag}")
        builder, image = made or (self.choose(None), Image(name, tag, built=False))
        pushed = builder.push(image, (tag, *more), login)
        with self._lock:
            for each in (tag, *more):
                self.pins[f"{name}:{each}"] = f"{name}:{each}@{pushed.digest}"
        return pushed

    def _source(self, recipe: Recipe) -> Source:
        return read(recipe, self.versions())

    def _content(self, recipe: Recipe, source: Source) -> str | None:
        return content_tag(
            recipe, source.dockerfile, source.text, source.entries, self.digest_of, self.machine
        )
