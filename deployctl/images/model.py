"""What is to be built, and what came of it: the values that all builders share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from deployctl.core.json_values import Json

Backend = Literal["docker-py", "buildx"]
"""The two values of `build_backend` in the step that builds an image."""


class BuilderChoice(StrEnum):
    """Who builds: the values of `--builder`."""

    AUTO = "auto"
    DOCKER = "docker"
    ASSEMBLE = "assemble"


AUTO = "auto"
"""Written instead of a Dockerfile's path: the Dockerfile is made up."""


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """One image to build, as a build step describes it."""

    name: str
    """`registry/repository/name` as written, with the default namespace in front."""
    context: Path
    """The build context."""
    dockerfile: str = "Dockerfile"
    """A path in the folder, or `auto`."""
    tag: str | None = None
    additional_tags: tuple[str, ...] = ()
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    """The stage to build; None is the last."""
    platform: str | None = None
    """`os/architecture[/variant]`, for buildx several with commas; None: that of whoever builds."""
    labels: Mapping[str, str] = field(default_factory=dict)
    ignore_cache: bool = False
    backend: Backend = "docker-py"
    options: Mapping[str, Json] = field(default_factory=dict)
    """What else the step says, for the engine."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that exists."""

    name: str
    tag: str
    digest: str | None = None
    """`sha256:…` of its manifest in the registry; None while it was never pushed."""
    id: str | None = None
    """What the engine knows it by: the digest of its configuration."""
    built: bool = True
    """False if it was there already."""

    @property
    def pinned(self) -> str:
        """`name:tag@sha256:…`, or `name:tag` of an image that no registry has."""
        return f"{self.name}:{self.tag}" + (f"@{self.digest}" if self.digest else "")
