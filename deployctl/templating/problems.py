"""What is wrong at a place inside a value, before anybody says in which file that place is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from deployctl.core.diagnostics import Report, Severity, Span
from deployctl.core.json_values import JsonPath


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding of a pure check; `tell` makes a diagnostic of it."""

    path: JsonPath
    """From the root of the value that was checked."""
    code: str
    message: str
    help: str | None = None
    severity: Severity = Severity.ERROR

    def below(self, path: JsonPath) -> Problem:
        """The same problem, seen from a value that holds the checked one at `path`."""
        return replace(self, path=(*path, *self.path))


def report_problems(
    problems: Iterable[Problem], report: Report, where: Callable[[JsonPath], Span | None]
) -> None:
    """Adds the problems to a report, at the places that `where` gives for their paths."""
    for problem in problems:
        add = report.error if problem.severity is Severity.ERROR else report.warning
        add(problem.code, problem.message, where(problem.path), help=problem.help)
