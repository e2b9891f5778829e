"""The step `run_shell_script`.

It does what Prefect's function of this name does, which is less than a shell script: each line runs
as its own program, so that a `cd` or a variable ends with its line, and without `shell: true` there
are no pipes and no `$NAME`. There is no time limit, because builds can take long.
"""

from __future__ import annotations

import shlex
import string
from collections.abc import Mapping

from deployctl.clients import process
from deployctl.core.errors import ProgramError
from deployctl.core.json_values import Json
from deployctl.steps.context import StepContext, output_tail


def run_shell_script(
    context: StepContext,
    name: str,
    *,
    script: str,
    directory: str | None = None,
    env: Mapping[str, Json] | None = None,
    stream_output: bool = True,
    expand_env_vars: bool = False,
    shell: bool = False,
) -> dict[str, Json]:
    """Runs each line of `script` and returns the `stdout` and `stderr` of all of them, stripped.

    `env` is added to the environment; `expand_env_vars` replaces `$NAME` in the lines with it.
    Raises ProgramError at the first line that fails.
    """
    environ = {**context.environ, **{key: str(value) for key, value in (env or {}).items()}}
    outputs: dict[str, list[str]] = {"stdout": [], "stderr": []}
    for line in script.splitlines():
        command = string.Template(line).safe_substitute(environ) if expand_env_vars else line
        argv = ["/bin/sh", "-c", command] if shell and command.strip() else _words(command, shell)
        if argv:
            done = _run(context, name, argv, directory, environ, stream_output)
            _check(done, command)
            outputs["stdout"].append(done.stdout)
            outputs["stderr"].append(done.stderr)
    return {key: "".join(texts).strip() for key, texts in outputs.items()}


def _words(command: str, shell: bool) -> list[str]:
    if shell:
        return []
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ProgramError(
            f"the line '{command}' cannot be split into words: {error}",
            help="Each line runs on its own. Put longer scripts into a file and run that.",
        ) from error


def _run(
    context: StepContext,
    name: str,
    argv: list[str],
    directory: str | None,
    environ: Mapping[str, str],
    stream: bool,
) -> process.CompletedProgram:
    return process.run(
        argv,
        cwd=context.folder / (directory or "."),
        env=environ,
        timeout=None,
        on_line=(lambda _, line: context.output(name, line)) if stream else None,
        cancellation=context.cancellation,
    )


def _check(done: process.CompletedProgram, command: str) -> None:
    """Raises ProgramError if the line failed.

    The message has the line as it is written: quoting its words again would change a secret with a
    quotation mark, which would not be masked then.
    """
    if done.returncode:
        last = output_tail(done)
        message = f"'{command.strip()}' ended with exit code {done.returncode}"
        raise ProgramError(f"{message}:\n{last}" if last else message)
