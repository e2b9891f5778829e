"""Where and with what steps run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployctl.clients.process import CompletedProgram
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import ProgramError
from deployctl.core.json_values import Json
from deployctl.images.pipeline import ImageProvider


@dataclass(frozen=True, slots=True)
class StepContext:
    """What steps are given beside their inputs."""

    folder: Path
    """What relative directories start from."""
    environ: Mapping[str, str]
    python: str
    """The project's interpreter."""
    output: Callable[[str, str], None]
    """Is told every line that a program prints: the step's name, the line."""
    stop: CancellationToken = field(default_factory=CancellationToken)
    """Ends the program that runs, and begins no other."""
    image_provider: ImageProvider | None = None
    """What makes images; None where nothing does."""
    namespace: str = ""
    """Stands before the names of images that name no registry and no owner."""

    @property
    def images(self) -> ImageProvider:
        """What makes images. Raises ProgramError."""
        if self.image_provider is None:
            raise ProgramError("images are not made here")
        return self.image_provider


def set_working_directory(place: StepContext, _name: str, *, directory: str) -> dict[str, Json]:
    """The folder that later steps of the same deployment start from. Raises ProgramError."""
    folder = (place.folder / directory).resolve()
    if not folder.is_dir():
        raise ProgramError(f"there is no folder '{folder}'")
    return {"directory": str(folder)}


def output_tail(done: CompletedProgram) -> str:
    """The end of what a program said, for a message about it."""
    return "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-10:])
