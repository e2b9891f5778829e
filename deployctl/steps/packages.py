"""Packages for the project's interpreter: `pip_install_requirements` and `requires` of steps."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from deployctl.clients import process
from deployctl.core.errors import ProgramError
from deployctl.core.json_values import Json
from deployctl.steps.context import StepContext, output_tail


def pip_install_requirements(
    context: StepContext,
    name: str,
    *,
    requirements_file: str = "requirements.txt",
    directory: str | None = None,
    stream_output: bool = True,
) -> dict[str, Json]:
    """Installs a requirements file; returns `stdout` and `stderr`. Raises ProgramError."""
    done = install(context, name, ["-r", requirements_file], directory or ".", stream_output)
    if done.returncode:
        raise ProgramError(f"'{requirements_file}' cannot be installed:\n{output_tail(done)}")
    return {"stdout": done.stdout.strip(), "stderr": done.stderr.strip()}


def install(
    context: StepContext, name: str, what: Sequence[str], directory: str = ".", stream: bool = True
) -> process.CompletedProgram:
    """Installs packages with pip, or with uv if the interpreter has no pip (uv creates such ones).

    Raises ProgramError if neither can be started.
    """
    done = _run(context, name, [context.python, "-m", "pip", "install", *what], directory, stream)
    uv = shutil.which("uv", path=context.environ.get("PATH"))
    if done.returncode and "No module named pip" in done.stderr and uv:
        command = [uv, "pip", "install", "--python", context.python, *what]
        done = _run(context, name, command, directory, stream)
    return done


def _run(
    context: StepContext, name: str, argv: Sequence[str], directory: str, stream: bool
) -> process.CompletedProgram:
    return process.run(
        argv,
        cwd=context.folder / directory,
        env=context.environ,
        timeout=None,
        on_line=(lambda _, line: context.output(name, line)) if stream else None,
        cancellation=context.cancellation,
    )
