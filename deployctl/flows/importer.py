"""Loads flows by importing them in a child process, never in ours.

The child is the project's own interpreter if that has Prefect, otherwise a Python with pydantic, in
which a stand-in takes Prefect's place. One process (`child/probe.py`) loads all flows that need an
import, because most of the time goes into importing Prefect. Unchanged flows come from the cache:
see `cache.py`.
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
from deployctl.flows.child.probe import NO_SERVER
from deployctl.flows.docstrings import parameter_descriptions
from deployctl.flows.metadata import FlowMetadata

_ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the package `deployctl`."""
_PROBE = f"""
import sys
import contextlib, importlib.util, inspect, json, os, sysconfig, traceback
path, sys.path[:] = sys.path[1:], [{str(_ROOT)!r}, *sys.path[1:]]
from deployctl.flows.child.probe import main
sys.path[:] = path
main()
"""
_IDENTIFY = """
import importlib.metadata, json, os, sys, sysconfig
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
folder = sysconfig.get_paths()["purelib"]
changed = os.stat(folder).st_mtime_ns if os.path.isdir(folder) else 0
python = "%d.%d" % sys.version_info[:2]
print(json.dumps([version("prefect"), python, folder, changed, version("pydantic")]))
"""
_IDENTIFY_TIMEOUT = 20.0
KNOWN_PREFECT = (3, 9)
"""The newest Prefect with which static reading was compared."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python interpreter that can import flows."""

    path: str
    identity: Json
    """Its packages. Changes with the versions of Prefect and pydantic, and whenever a package is
    installed."""

    @property
    def prefect(self) -> str | None:
        """Its version of Prefect, e.g. `3.8.8`; None if it has none."""
        return self.identity[0]  # type: ignore[no-any-return]

    @property
    def python(self) -> str:
        """Its own version, e.g. `3.11`."""
        return str(self.identity[1])

    @property
    def has_pydantic(self) -> bool:
        """Whether it has pydantic 2, which the stand-in for Prefect needs."""
        return int(str(self.identity[4] or 0).partition(".")[0]) >= 2


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

    @property
    def is_syntax_error(self) -> bool:
        """Whether the code is not valid for the interpreter that imported it."""
        return self.exception_types[-1:] in (("SyntaxError",), ("IndentationError",), ("TabError",))

    def may_be_ours(self, is_real: bool) -> bool:
        """Whether `prefect deploy` might have imported the flow: it has a server, and Prefect.

        `is_real`: whether Prefect itself imported the flow, not the stand-in.
        """
        if NO_SERVER in self.message or "NoServer" in self.exception_types:
            return True
        types = self.exception_types
        certain = not types or types[0] == "MissingFlowError" or types[-1] == "SystemExit"
        return not (is_real or certain or self.is_syntax_error)

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


def find_prefect(folder: Path, environ: Mapping[str, str]) -> Interpreter | None:
    """Returns the first interpreter that has Prefect, in the order of `project_python`."""
    return next((each for each in _interpreters(folder, environ) if each.prefect), None)


def find_interpreter(folder: Path, environ: Mapping[str, str]) -> Interpreter | None:
    """Returns the first interpreter that has Prefect, or else the first that has pydantic.

    Ours has pydantic, so None means that this installation of deployctl is incomplete.
    """
    found = []
    for each in _interpreters(folder, environ):
        if each.prefect:
            return each
        if each.has_pydantic:
            found.append(each)
    return found[0] if found else None


def find_newer_interpreter(folder: Path, environ: Mapping[str, str]) -> Interpreter | None:
    """Returns the newest interpreter on PATH that is newer than ours and can import flows."""
    minors = range(sys.version_info.minor + 9, sys.version_info.minor, -1)
    paths = (shutil.which(f"python3.{minor}", path=environ.get("PATH")) for minor in minors)
    found = filter(None, (_identify(path, folder) for path in paths if path))
    return next((each for each in found if each.prefect or each.has_pydantic), None)


def has_newer_prefect(folder: Path, environ: Mapping[str, str]) -> bool:
    """Whether the first Prefect that is installed is newer than `KNOWN_PREFECT`.

    Reads names of files only. Such a Prefect may make other schemas, so it decides by an import.
    """
    for python in dict.fromkeys(_candidates(folder, environ)):
        for prefix in dict.fromkeys(
            (Path(python).parent.parent, Path(python).resolve().parents[1])
        ):
            for found in prefix.glob("lib/python3*/site-packages/prefect-*.dist-info"):
                version = found.name.removeprefix("prefect-").removesuffix(".dist-info").split(".")
                numbers = tuple(int(part) for part in version[:2] if part.isdecimal())
                return numbers > KNOWN_PREFECT
    return False


def _interpreters(folder: Path, environ: Mapping[str, str]) -> Iterator[Interpreter]:
    for path in dict.fromkeys(_candidates(folder, environ)):
        if found := _identify(path, folder):
            yield found


def _identify(path: str, folder: Path) -> Interpreter | None:
    """Returns an interpreter with its packages; None if it doesn't work."""
    try:
        argv = [path, "-c", _IDENTIFY]
        done = process.run(argv, cwd=folder, env=None, timeout=_IDENTIFY_TIMEOUT)
        return Interpreter(path, json.loads(done.stdout)) if done.returncode == 0 else None
    except (ProgramError, ValueError):
        return None


def _candidates(folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    for environment in (folder / ".venv", environ.get("VIRTUAL_ENV")):
        if environment and (path := Path(environment) / "bin" / "python").exists():
            yield str(path)
    if found := shutil.which("python3", path=environ.get("PATH")):
        yield found
    yield sys.executable


@dataclass(frozen=True, slots=True)
class Task:
    """A flow to load."""

    entrypoint: str
    base: Path
    """The working directory, which the entrypoint is relative to."""
    path: tuple[Path, ...] = ()
    """Further folders of modules, searched after those that Prefect searches."""


def load_flows(
    interpreter: Interpreter, tasks: Sequence[Task], timeout: float
) -> dict[Task, LoadResult]:
    """Loads entrypoints in one process.

    If the process crashes or times out, that is the failure of the current entrypoint and of all
    later ones.
    """
    with tempfile.TemporaryDirectory(prefix="deployctl-") as scratch:
        output = Path(scratch, "results")
        flows = [
            {"entrypoint": each.entrypoint, "base": str(each.base), "path": [*map(str, each.path)]}
            for each in tasks
        ]
        try:
            done = process.run(
                [interpreter.path, "-B", "-c", _PROBE],
                cwd=Path(scratch),
                env={**os.environ, "PYTHONHASHSEED": "0"},  # sets have a reproducible order
                timeout=timeout,
                input=json.dumps({"tasks": flows, "results": str(output)}),
            )
            exit_reason = f"the interpreter exited with code {done.returncode}"
        except ProgramError as error:
            exit_reason = error.message
        lines = _read_results(output.read_bytes()) if output.exists() else ()
        results = dict(zip(tasks, map(_load_result, lines), strict=False))
    missing = [task for task in tasks if task not in results]
    for task in missing:
        at = "" if task is missing[0] else f" at '{missing[0].entrypoint}'"
        failure = LoadFailure((), exit_reason + at, None, None)
        results[task] = LoadResult(None, failure)
    return results


def _read_results(content: bytes) -> Iterator[Json]:
    """Yields the complete results: a probe may be killed in the middle of a line."""
    for line in content.splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def _load_result(result: Json) -> LoadResult:
    metadata = _metadata(result["metadata"]) if "metadata" in result else None
    error = result.get("error")
    failure = LoadFailure.from_json(error) if error else None
    return LoadResult(metadata, failure, tuple(result["files"]))


def _metadata(value: dict[str, Json]) -> FlowMetadata:
    """Reads metadata; adds descriptions of parameters where the child left them to us."""
    properties = value["parameter_schema"]["properties"]
    for name, description in parameter_descriptions(value.pop("docstring", None)).items():
        if name in properties:
            properties[name].setdefault("description", description)
    return FlowMetadata.from_json(value)
