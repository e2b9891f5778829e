"""Diagnostics: what is wrong with the user's input, with code, severity, message, span and help.

A diagnostic is a value. Checks add theirs to a `Report` and continue, so that one run finds every
mistake; nothing is raised until the caller asks. `core.catalogue` knows severity and title of each
code:

    report.add("DC100", f"there is no file '{file}'", help="Create it.")
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from deployctl.core.catalogue import CATALOGUE, Severity
from deployctl.core.fix import Fix
from deployctl.core.json_values import JsonPath


@dataclass(frozen=True, slots=True)
class Span:
    """A range in a file. Lines and columns count from 1; the end column is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: its code and severity, what is wrong, where, and what to do about it."""

    code: str
    severity: Severity
    message: str
    span: Span | None = None
    help: str | None = None
    related: tuple[tuple[Span, str], ...] = ()
    """Further spans, each with its meaning ("first given here")."""
    fix: Fix | None = field(default=None, compare=False)
    """The change of the file that `help` describes, if it is unambiguous. Not compared, since one
    value of the file can stand at several paths."""


@dataclass(slots=True)
class Report:
    """Collects the diagnostics of a command in the order in which they were found."""

    items: list[Diagnostic] = field(default_factory=list)
    aside: int = 0
    """The number of errors that do not stop the command; see `set_aside`."""
    warnings_aside: int = 0
    """The number of warnings that do not stop a command for which warnings are errors."""

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self.items)

    @property
    def errors(self) -> int:
        """The number of errors."""
        return sum(item.severity is Severity.ERROR for item in self.items)

    @property
    def blocking(self) -> int:
        """The number of errors that stop the command."""
        return max(0, self.errors - self.aside)

    @property
    def warnings(self) -> int:
        """The number of warnings."""
        return sum(item.severity is Severity.WARNING for item in self.items)

    @property
    def blocking_warnings(self) -> int:
        """The number of warnings that stop the command if warnings are errors."""
        return max(0, self.warnings - self.warnings_aside)

    def add(
        self,
        code: str,
        message: str,
        span: Span | None = None,
        *,
        help: str | None = None,  # noqa: A002 - named as the field
        related: Iterable[tuple[Span, str]] = (),
        severity: Severity | None = None,
        fix: Fix | None = None,
    ) -> None:
        """Adds a diagnostic, with the severity of the catalogue unless another one is given."""
        severity = severity or CATALOGUE[code].severity
        self.items.append(Diagnostic(code, severity, message, span, help, tuple(related), fix))

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Adds diagnostics of another report."""
        self.items.extend(diagnostics)

    def set_aside(self, report: Report) -> None:
        """Adds diagnostics of what the command leaves out: it fails, but it goes on without it."""
        self.items.extend(report.items)
        self.aside += report.errors
        self.warnings_aside += report.warnings

    def distinct(self) -> list[Diagnostic]:
        """The diagnostics without repetitions, for showing them.

        One value of the file can stand in many deployments, through an alias or a step that all of
        them inherit; what is wrong with it is found in each and shown once.
        """
        return list(dict.fromkeys(self.items))


@dataclass(frozen=True, slots=True)
class Spans:
    """The spans of the values and keys of one document."""

    values: Mapping[JsonPath, Span]
    keys: Mapping[JsonPath, Span]
    """The span of the last key of a path, for paths that end in the key of a mapping."""

    def value(self, path: JsonPath) -> Span | None:
        """The span of the value at `path`, or of its nearest ancestor."""
        return self._nearest(self.values, path)

    def key(self, path: JsonPath) -> Span | None:
        """The span of the key that `path` ends in, or of the nearest ancestor of its value."""
        return self.keys.get(path) or self.value(path)

    @staticmethod
    def _nearest(spans: Mapping[JsonPath, Span], path: JsonPath) -> Span | None:
        for length in range(len(path), -1, -1):
            if (found := spans.get(path[:length])) is not None:
                return found
        return None


__all__ = ["Diagnostic", "Report", "Severity", "Span", "Spans"]
