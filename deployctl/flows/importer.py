"""Reads flows by importing them, in the project's own interpreter and only there.

All flows that need it are loaded in one child process (`probe.py`), as it is the import of Prefect
that takes the time. Unchanged flows are not loaded again: see `cache.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deployctl.clients import process
from deployctl.core.errors import ProgramError
from deployctl.core.json_values import Json
from deployctl.flows.metadata import FlowMetadata

_PROBE = Path(__file__).with_name("probe.py")
_LOOK = """
import importlib.metadata, json, os, sys, sysconfig
folder = sysconfig.get_paths()["purelib"]
versions = [importlib.metadata.version("prefect"), "%d.%d" % sys.version_info[:2]]
print(json.dumps([*versions, folder, os.stat(folder).st_mtime_ns]))
"""
_SECONDS_TO_LOOK = 20.0


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python in which Prefect is installed."""

    path: str
    identity: Json
    """Changes with its version of Prefect and whenever something is installed there."""

    @property
    def prefect(self) -> str:
        """The version of its Prefect, like `3.8.8`."""
        return str(self.identity[0])

    @property
    def python(self) -> str:
        """Its own version, like `3.11`."""
        return str(self.identity[1])


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """Why a flow could not be loaded."""

    kinds: tuple[str, ...]
    """The names of the exceptions, from Prefect's to the one that began it."""
    message: str
    file: str | None
    line: int | None
    """The last line of the user's own code that it went through."""

    @classmethod
    def of(cls, answer: Json) -> Self:
        """Reads what the probe says of an error."""
        file, line = answer["place"] or (None, None)
        return cls(tuple(answer["kinds"]), answer["message"], file, line)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What came of loading one flow."""

    facts: FlowMetadata | None
    failure: LoadFailure | None
    """With facts: what kept the file from running to its end, so that Prefect guessed the rest."""
    files: tuple[str, ...] = ()
    """The user's files that were read."""


def project_python(folder: Path, environ: Mapping[str, str]) -> str:
    """The interpreter that is most likely the project's, without starting any.

    In this order: the project's `.venv`, the active virtual environment, `python3` on PATH, and
    the one that runs deployctl.
    """
    return next(_candidates(folder, environ))


def find_interpreter(folder: Path, environ: Mapping[str, str]) -> Interpreter | None:
    """The first interpreter that has Prefect, in the order of `project_python`; None if none."""
    for path in dict.fromkeys(_candidates(folder, environ)):
        try:
            done = process.run([path, "-c", _LOOK], cwd=folder, env=None, timeout=_SECONDS_TO_LOOK)
            if done.returncode == 0:
                return Interpreter(path, json.loads(done.stdout))
        except (ProgramError, ValueError):
            continue
    return None


def _candidates(folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    for environment in (folder / ".venv", environ.get("VIRTUAL_ENV")):
        if environment and (path := Path(environment) / "bin" / "python").exists():
            yield str(path)
    if found := shutil.which("python3", path=environ.get("PATH")):
        yield found
    yield sys.executable


def load_flows(
    interpreter: Interpreter, tasks: Sequence[tuple[str, Path]], timeout: float
) -> dict[str, LoadResult]:
    """Loads entrypoints, each from the folder that it is relative to, in one process.

    Where the process crashes or has to be stopped, that is the failure of the entrypoint that it
    was at and of those that it did not get to.
    """
    results: dict[str, LoadResult] = {}
    with tempfile.TemporaryDirectory(prefix="deployctl-") as scratch:
        # Not run where it is: its neighbours would shadow modules of the standard library.
        probe = shutil.copy(_PROBE, scratch)
        answers = Path(scratch, "answers")
        request = [{"entrypoint": text, "base": str(base)} for text, base in tasks]
        try:
            done = process.run(
                [interpreter.path, str(probe), str(answers)],
                cwd=Path(scratch),
                env=_environment(os.environ),
                timeout=timeout,
                input=json.dumps(request),
            )
            ending = f"the interpreter ended with exit code {done.returncode}"
        except ProgramError as error:
            ending = error.message
        if answers.exists():
            for answer in _answers(answers.read_bytes()):
                results[answer["entrypoint"]] = _loaded(answer)
    culprit = None
    for text, _ in tasks:
        if text not in results:
            culprit = culprit or text
            message = ending if text == culprit else f"{ending} at '{culprit}'"
            results[text] = LoadResult(None, LoadFailure((), message, None, None))
    return results


def _answers(content: bytes) -> Iterator[Json]:
    """The answers that are whole: a probe can be ended in the middle of a line."""
    for line in content.splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def _loaded(answer: Json) -> LoadResult:
    facts = FlowMetadata(**answer["facts"]) if "facts" in answer else None
    problem = answer.get("error")
    return LoadResult(facts, LoadFailure.of(problem) if problem else None, tuple(answer["files"]))


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Ours, but without chance in hashes and without a Prefect server that starts by itself."""
    return {**environ, "PYTHONHASHSEED": "0", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"}
