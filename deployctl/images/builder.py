"""How images come to be, whoever makes them: looked up, built, pushed.

Docker Engine, buildx and the daemonless assembler are builders. What is the same for all of them
stands above: which steps want which image, and that nothing is built that is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from deployctl.images.model import BuildSpec, Image
from deployctl.images.source import BuildSource

OnOutput: TypeAlias = Callable[[str, str], None]
"""Is told what a build prints: the image's name and a line."""


@dataclass(frozen=True, slots=True)
class StepCredentials:
    """Credentials that a step names itself."""

    username: str
    password: str = field(repr=False)
    registry: str = ""
    """The registry's URL or host; "" means that of the image."""


class Builder(Protocol):
    """Makes images. Every method raises DeployctlErrors only."""

    @property
    def persistent(self) -> bool:
        """Whether what was built and not pushed is still there when the command has ended."""

    def local_id(self, image: str) -> str | None:
        """What an image is that builds begin from without asking its registry, if it is there."""

    def find(self, spec: BuildSpec, content_tag: str) -> Image | None:
        """The image with this content, if it was built before; nothing is built or pushed."""

    def build(self, spec: BuildSpec, source: BuildSource, content_tag: str | None) -> Image:
        """Builds the image and gives it the spec's tag, or `content_tag` if it names none."""

    def push(self, image: Image, tags: Sequence[str], login: StepCredentials | None) -> Image:
        """Puts the image into its registry under these tags; gives it with its digest."""
