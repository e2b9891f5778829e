"""Values that all image builders share: what to build, and the image that results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from deployctl.core.json_values import Json

Backend = Literal["docker-py", "buildx"]
"""Values of `build_backend` in a build step."""


class BuilderChoice(StrEnum):
    """Values of `--builder`."""

    AUTO = "auto"
    DOCKER = "docker"
    ASSEMBLE = "assemble"


AUTO = "auto"
"""Value of `dockerfile` for which the Dockerfile is generated."""


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """One image to build, as a build step describes it."""

    name: str
    """`registry/repository/name` as written, prefixed with the default namespace."""
    context: Path
    """Directory of the build context."""
    dockerfile: str = "Dockerfile"
    """Path relative to the context, or `auto`."""
    home: str = ""
    """Where a generated Dockerfile copies the context to; a directory of its name if empty."""
    tag: str | None = None
    additional_tags: tuple[str, ...] = ()
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    """Stage to build; None for the last one."""
    platform: str | None = None
    """`os/architecture[/variant]`; for buildx a comma-separated list. None for the platform of the
    build machine."""
    labels: Mapping[str, str] = field(default_factory=dict)
    ignore_cache: bool = False
    backend: Backend = "docker-py"
    options: Mapping[str, Json] = field(default_factory=dict)
    """All other inputs of the step, passed to the engine."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that exists in a registry, in an engine or in the assembler's directory."""

    name: str
    tag: str
    digest: str | None = None
    """`sha256:…` of its manifest in the registry; None for an image that was never pushed."""
    id: str | None = None
    """The engine's image id: the digest of the image config."""
    built: bool = True
    """False if the image existed before this command."""

    @property
    def pinned(self) -> str:
        """`name:tag@sha256:…`, or `name:tag` for an image that is in no registry."""
        return f"{self.name}:{self.tag}" + (f"@{self.digest}" if self.digest else "")
