"""A project as its file says it, in Prefect's types, with the way back to the text."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deployctl.core.diagnostics import Report, Span
from deployctl.core.json_values import Json, JsonPath
from deployctl.project.document import Document
from deployctl.templating.problems import Problem, report_problems


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """One entry of `deployments:`."""

    path: JsonPath
    """Where the entry stands in the document: `("deployments", 3)`."""
    name: str
    entrypoint: str
    raw: Mapping[str, Json]
    """The entry's known keys in Prefect's types, templates of the environment filled in."""
    document: Document
    overridden: frozenset[str] = frozenset()
    """Keys whose values come from the command line."""

    def span(self, path: JsonPath = ()) -> Span | None:
        """The place of what stands at `path` in the entry, or of the nearest value around it.

        None for what does not come from the file.
        """
        if not self.path or (path and path[0] in self.overridden):
            return None
        return self.document.spans.value((*self.path, *path))

    def report_problems(self, problems: Iterable[Problem], report: Report) -> None:
        """Adds problems of the entry to a report, each where the file says what it is about."""
        for problem in problems:
            here = problem.below(self.path)
            if self.span(problem.path) is None:
                report_problems([here], report, lambda _: None)
            else:
                self.document.report_problems([here], report)


@dataclass(frozen=True, slots=True)
class Project:
    """What one file says."""

    document: Document
    name: str
    """The file's `name`, else the name of its folder."""
    deployments: tuple[DeploymentSpec, ...]
    actions: Mapping[str, Json]
    """The file's own `build`, `push` and `pull`, as far as it has them."""
    work_pools: tuple[Mapping[str, Json], ...]

    @property
    def file(self) -> Path:
        """The file that it was read from."""
        return Path(self.document.file)

    @property
    def folder(self) -> Path:
        """The folder that holds the file."""
        return self.file.absolute().parent


def normalize_entrypoint(entrypoint: str) -> str:
    """One form for all ways to name a function: of `./a.py:f` and `a.py:f`, `m.n:f` and `m.n.f`."""
    file, colon, function = entrypoint.rpartition(":")
    if colon and file.endswith(".py"):
        return f"{posixpath.normpath(file)}:{function}"
    return entrypoint.replace(":", ".")
