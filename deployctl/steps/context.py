"""The context in which steps run."""

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
    """What a step has besides its inputs."""

    folder: Path
    """The working directory; relative directories start from here."""
    environ: Mapping[str, str]
    python: str
    """The project's interpreter."""
    output: Callable[[str, str], None]
    """Receives every line that a program prints: (step's name, line)."""
    cancellation: CancellationToken = field(default_factory=CancellationToken)
    """Ends the program that runs, and prevents others from starting."""
    image_provider: ImageProvider | None = None
    """Builds and pushes images; None in commands that do neither."""
    namespace: str = ""
    """Prepended to image names without registry and owner."""
    start: Path | None = None
    """The folder in which the first step ran, if an earlier step changed it since."""
    runs_shell_steps: bool = False
    """Whether a plan runs shell steps, also those that may write."""

    @property
    def project(self) -> Path:
        """The folder in which deployctl runs, to which entrypoints are relative."""
        return self.start or self.folder

    @property
    def images(self) -> ImageProvider:
        """The image provider. Raises ProgramError if there is none."""
        if self.image_provider is None:
            raise ProgramError("this command builds no images")
        return self.image_provider


def set_working_directory(context: StepContext, _name: str, *, directory: str) -> dict[str, Json]:
    """Changes the folder in which later steps of the deployment run. Raises ProgramError."""
    folder = (context.folder / directory).resolve()
    if not folder.is_dir():
        raise ProgramError(f"the folder '{folder}' does not exist")
    return {"directory": str(folder)}


def output_tail(done: CompletedProgram) -> str:
    """The last ten lines of a program's stderr, or else of its stdout, for error messages."""
    return "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-10:])
