"""Findings about a value at a path, before it is known in which file that value is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from deployctl.core.catalogue import CATALOGUE
from deployctl.core.diagnostics import Report, Severity, Span
from deployctl.core.fix import Fix, fix_below
from deployctl.core.json_values import JsonPath


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding of a pure check; `report_problems` makes a diagnostic of it."""

    path: JsonPath
    """From the root of the value that was checked."""
    code: str
    message: str
    help: str | None = None
    severity_override: Severity | None = None
    """The severity, where it is not that of the catalogue."""
    fix: Fix | None = field(default=None, compare=False)
    """What `help` says as a change of the checked value, if it is unambiguous."""
    at_key: bool = field(default=False, compare=False)
    """Whether the key at `path` is what is wrong, not its value."""

    @property
    def severity(self) -> Severity:
        """The severity of this finding."""
        return self.severity_override or CATALOGUE[self.code].severity

    def below(self, path: JsonPath) -> Problem:
        """The same problem, as seen from a value that contains the checked one at `path`."""
        return replace(self, path=(*path, *self.path), fix=fix_below(self.fix, path))


def report_problems(
    problems: Iterable[Problem], report: Report, span_of: Callable[[JsonPath], Span | None]
) -> None:
    """Adds problems to a report, with the spans that `span_of` returns for their paths."""
    for problem in problems:
        span = span_of(problem.path)
        report.add(
            problem.code,
            problem.message,
            span,
            help=problem.help,
            severity=problem.severity,
            fix=problem.fix,
        )
