"""Interface of an image builder: look an image up, build it, push it.

Two implementations: `docker.engine` (Docker Engine, Podman or buildx) and `daemonless.assembler`
(registries only). `pipeline` is built on the interface: it maps steps to images and skips the build
of an image that exists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from deployctl.images.model import BuildSpec, Image
from deployctl.images.source import BuildSource

OnOutput: TypeAlias = Callable[[str, str], None]
"""Receives the output of builds and pushes: the image's name and one line."""


@dataclass(frozen=True, slots=True)
class StepCredentials:
    """The `credentials` input of a push step."""

    username: str
    password: str = field(repr=False)
    registry: str = ""
    """URL or host of the registry; "" for the registry of the image."""


class Builder(Protocol):
    """Builds and pushes images. Every method raises DeployctlErrors only."""

    @property
    def persistent(self) -> bool:
        """Whether an image that was built and not pushed survives the end of the command."""

    def local_id(self, image: str) -> str | None:
        """The id of a base image that builds use without asking its registry, or None."""

    def find(self, spec: BuildSpec, content_tag: str) -> Image | None:
        """The existing image with this content tag, or None. Builds and pushes nothing."""

    def build(self, spec: BuildSpec, source: BuildSource, content_tag: str | None) -> Image:
        """Builds the image; its tag is that of the spec, or `content_tag` if the spec has none."""

    def push(self, image: Image, tags: Sequence[str], credentials: StepCredentials | None) -> Image:
        """Pushes the image under these tags; returns it with its digest."""
