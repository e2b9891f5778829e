"""Loads flows by importing them in the project's own interpreter, never in ours.

All flows that need an import are loaded by one child process (`probe.py`), because most of the time
goes into importing Prefect. Unchanged flows come from the cache: see `cache.py`.
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
_IDENTIFY = """
import importlib.metadata, json, os, sys, sysconfig
folder = sysconfig.get_paths()["purelib"]
versions = [importlib.metadata.version("prefect"), "%d.%d" % sys.version_info[:2]]
print(json.dumps([*versions, folder, os.stat(folder).st_mtime_ns]))
"""
_IDENTIFY_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python interpreter that has Prefect installed."""

    path: str
    identity: Json
    """Changes with its version of Prefect, and whenever a package is installed."""

    @property
    def prefect(self) -> str:
        """Its version of Prefect, e.g. `3.8.8`."""
        return str(self.identity[0])

    @property
    def python(self) -> str:
        """Its version of Python, e.g. `3.11`."""
        return str(self.identity[1])


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """Why a flow could not be loaded, or only in part."""

    exception_types: tuple[str, ...]
    """The exception chain, from the exception of Prefect to its root cause; empty if the process
    crashed or timed out."""
    message: str
    file: str | None
    line: int | None
    """The last line of the user's own code in the traceback."""

    @classmethod
    def from_json(cls, error: Json) -> Self:
        """Reads an error as the probe writes it."""
        file, line = error["location"] or (None, None)
        return cls(tuple(error["exception_types"]), error["message"], file, line)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The result of loading one flow."""

    metadata: FlowMetadata | None
    failure: LoadFailure | None
    """With metadata: why the file could not run to its end, so that Prefect guessed the rest."""
    files: tuple[str, ...] = ()
    """The user's files that were read."""


def project_python(folder: Path, environ: Mapping[str, str]) -> str:
    """Returns the interpreter that is most likely the project's, without starting any.

    The first that exists of: the project's `.venv`, the active virtual environment, `python3` on
    PATH, and the interpreter that runs deployctl.
    """
    return next(_candidates(folder, environ))


def find_interpreter(folder: Path, environ: Mapping[str, str]) -> Interpreter | None:
    """Returns the first interpreter that has Prefect, in the order of `project_python`."""
    for path in dict.fromkeys(_candidates(folder, environ)):
        try:
            argv = [path, "-c", _IDENTIFY]
            done = process.run(argv, cwd=folder, env=None, timeout=_IDENTIFY_TIMEOUT)
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
    """Loads entrypoints in one process, each from the folder that it is relative to.

    If the process crashes or times out, that is the failure of the current entrypoint and of all
    later ones.
    """
    results: dict[str, LoadResult] = {}
    with tempfile.TemporaryDirectory(prefix="deployctl-") as scratch:
        # Run in place, the modules beside the probe would shadow modules of the standard library.
        probe = shutil.copy(_PROBE, scratch)
        output = Path(scratch, "results")
        request = [{"entrypoint": text, "base": str(base)} for text, base in tasks]
        try:
            done = process.run(
                [interpreter.path, str(probe), str(output)],
                cwd=Path(scratch),
                env=_environment(os.environ),
                timeout=timeout,
                input=json.dumps(request),
            )
            exit_reason = f"the interpreter exited with code {done.returncode}"
        except ProgramError as error:
            exit_reason = error.message
        if output.exists():
            for result in _read_results(output.read_bytes()):
                results[result["entrypoint"]] = _load_result(result)
    culprit = None
    for text, _ in tasks:
        if text not in results:
            culprit = culprit or text
            message = exit_reason if text == culprit else f"{exit_reason} at '{culprit}'"
            results[text] = LoadResult(None, LoadFailure((), message, None, None))
    return results


def _read_results(content: bytes) -> Iterator[Json]:
    """Yields the complete results: a probe may be killed in the middle of a line."""
    for line in content.splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def _load_result(result: Json) -> LoadResult:
    metadata = FlowMetadata(**result["metadata"]) if "metadata" in result else None
    error = result.get("error")
    failure = LoadFailure.from_json(error) if error else None
    return LoadResult(metadata, failure, tuple(result["files"]))


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Our environment, with reproducible hashes and without Prefect's ephemeral server."""
    return {**environ, "PYTHONHASHSEED": "0", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"}
