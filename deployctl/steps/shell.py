"""The step `run_shell_script`.

It does what Prefect's function of this name does, which is less than a shell script: each line runs
as its own program, so that a `cd` or a variable ends with its line, and without `shell: true` there
are no pipes and no `$NAME`. There is no time limit, because builds can take long.
"""

from __future__ import annotations

import shlex
import string
from collections.abc import Iterator, Mapping
from dataclasses import replace

from deployctl.clients import process
from deployctl.core.errors import ProgramError
from deployctl.core.json_values import Json
from deployctl.steps.context import StepContext, output_tail
from deployctl.steps.read_only import ENVIRONMENT, only_reads_git


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
    for command, argv in _commands(script, environ, expand=expand_env_vars, shell=shell):
        done = _run(context, name, argv, directory, environ, stream_output)
        _check(done, command)
        outputs["stdout"].append(done.stdout)
        outputs["stderr"].append(done.stderr)
    return {key: "".join(texts).strip() for key, texts in outputs.items()}


def find_output(context: StepContext, inputs: Mapping[str, Json]) -> dict[str, Json] | None:
    """What the step returns, if a plan may run it: it only reads git, or the user allows it.

    None if it may not. Raises ProgramError.
    """
    arguments = {name: value for name, value in inputs.items() if value is not None}
    arguments["stream_output"] = False
    if context.runs_shell_steps:
        return run_shell_script(context, "", **arguments)
    if arguments.get("env") or arguments.get("shell"):
        return None
    expand = bool(arguments.get("expand_env_vars"))
    lines = _commands(arguments["script"], context.environ, expand=expand, shell=False)
    if not all(only_reads_git(argv) for _, argv in lines):
        return None
    quiet = replace(context, environ={**context.environ, **ENVIRONMENT})
    return run_shell_script(quiet, "", **arguments)


def _commands(
    script: str, environ: Mapping[str, str], *, expand: bool, shell: bool
) -> Iterator[tuple[str, list[str]]]:
    """Each line of a script that isn't empty, as text and as the program to run."""
    for line in script.splitlines():
        command = string.Template(line).safe_substitute(environ) if expand else line
        argv = ["/bin/sh", "-c", command] if shell and command.strip() else _words(command, shell)
        if argv:
            yield command, argv


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
