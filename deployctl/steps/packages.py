"""Packages for the project's interpreter: `pip_install_requirements`, and `requires` of steps."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from deployctl.clients import process
from deployctl.core.errors import ProgramError
from deployctl.core.json_values import Json
from deployctl.steps.context import StepContext, output_tail


def pip_install_requirements(
    place: StepContext,
    name: str,
    *,
    requirements_file: str = "requirements.txt",
    directory: str | None = None,
    stream_output: bool = True,
) -> dict[str, Json]:
    """Installs a requirements file; gives `stdout` and `stderr`. Raises ProgramError."""
    done = install(place, name, ["-r", requirements_file], directory or ".", stream_output)
    if done.returncode:
        raise ProgramError(f"'{requirements_file}' cannot be installed:\n{output_tail(done)}")
    return {"stdout": done.stdout.strip(), "stderr": done.stderr.strip()}


def install(
    place: StepContext, name: str, what: Sequence[str], directory: str = ".", stream: bool = True
) -> process.CompletedProgram:
    """Has pip install something, or uv where the interpreter has no pip, as in environments that
    uv makes. Raises ProgramError where neither can be started."""
    done = _run(place, name, [place.python, "-m", "pip", "install", *what], directory, stream)
    uv = shutil.which("uv", path=place.environ.get("PATH"))
    if done.returncode and "No module named pip" in done.stderr and uv:
        command = [uv, "pip", "install", "--python", place.python, *what]
        done = _run(place, name, command, directory, stream)
    return done


def _run(
    place: StepContext, name: str, argv: Sequence[str], directory: str, stream: bool
) -> process.CompletedProgram:
    return process.run(
        argv,
        cwd=place.folder / directory,
        env=place.environ,
        timeout=None,
        on_line=(lambda _, line: place.output(name, line)) if stream else None,
        cancellation=place.stop,
    )
