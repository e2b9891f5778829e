"""A project as its file declares it, in Prefect's types, with the spans of the file."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from deployctl.core.diagnostics import Report, Span
from deployctl.core.json_values import Json, JsonPath
from deployctl.project.declared import DeclaredResource
from deployctl.project.document import Document
from deployctl.templating.problems import Problem, report_problems
from deployctl.templating.references import ReferenceValues


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """One entry of `deployments:`."""

    path: JsonPath
    """The path of the entry in the document: `("deployments", 3)`; () for one of the command line.
    """
    name: str
    """Empty if the entry has no valid name; the reason is in `problems`."""
    entrypoint: str
    """Empty if the entry has no valid entrypoint."""
    raw: Mapping[str, Json]
    """The known keys of the entry in Prefect's types, with environment variables filled in."""
    document: Document
    fields: Mapping[str, Json] = field(default_factory=dict)
    """What `normalize.api_fields` returns for `raw`."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with the entry, at paths in it; reported if the entry is selected."""
    overridden: frozenset[str] = frozenset()
    """Keys whose values come from the command line."""
    inherited: frozenset[str] = frozenset()
    """Keys whose values are those of the same keys at the top of the file."""

    def span(self, path: JsonPath = ()) -> Span | None:
        """The span of the value at `path` in the entry, or of its nearest ancestor.

        None for values that do not come from the file.
        """
        if path and path[0] in self.inherited:
            return self.document.spans.value(path)
        if not self.path or (path and path[0] in self.overridden):
            return None
        return self.document.spans.value((*self.path, *path))

    def report_problems(self, problems: Iterable[Problem], report: Report) -> None:
        """Adds problems with paths in the entry to a report, with their spans in the file."""
        for problem in problems:
            is_inherited = bool(problem.path) and problem.path[0] in self.inherited
            in_document = problem if is_inherited else problem.below(self.path)
            if self.span(problem.path) is None:
                report_problems([replace(in_document, fix=None)], report, lambda _: None)
            else:
                self.document.report_problems([in_document], report)


@dataclass(frozen=True, slots=True)
class Project:
    """The contents of one file."""

    document: Document
    name: str
    """The `name` of the file, else the name of its directory."""
    deployments: tuple[DeploymentSpec, ...]
    """Every entry of the file, also those that cannot be deployed."""
    actions: Mapping[str, Json]
    """The file's own `build`, `push` and `pull`, as far as it has them."""
    work_pools: tuple[Mapping[str, Json], ...]
    declared: tuple[DeclaredResource, ...] = ()
    """The other resources that the file declares at its top."""
    references: ReferenceValues | None = None
    """What names may refer to, declared variables included; None without a server."""

    @property
    def file(self) -> Path:
        """The file that it was read from."""
        return Path(self.document.file)

    @property
    def folder(self) -> Path:
        """The directory of the file."""
        return self.file.absolute().parent


def normalize_entrypoint(entrypoint: str) -> str:
    """One form for all spellings: of `./a.py:f` and `a.py:f`, of `m.n:f` and `m.n.f`."""
    file, colon, function = entrypoint.rpartition(":")
    if colon and file.endswith(".py"):
        return f"{posixpath.normpath(file)}:{function}"
    return entrypoint.replace(":", ".")
