"""What is wrong with what somebody wrote: found all at once, shown where it stands.

A diagnostic is a value. Checks add theirs to a `Report` and go on, so that one run names every
mistake; nothing is raised until the caller asks. Codes are stable: `deployctl explain CODE` prints
`core/pages/CODE.md`, and each code that the source uses has such a page (`tests/unit/test_pages`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from deployctl.core.json_values import JsonPath


class Severity(StrEnum):
    """How much a diagnostic weighs: only errors stop a command."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a file. Lines and columns count from 1; the end column is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: a code, how bad, what, where, and the way out."""

    code: str
    severity: Severity
    message: str
    span: Span | None = None
    help: str | None = None
    related: tuple[tuple[Span, str], ...] = ()
    """Further places and what each has to do with it ("first given here")."""


@dataclass(slots=True)
class Report:
    """Collects the diagnostics of a command, each once, in the order in which they were found."""

    items: list[Diagnostic] = field(default_factory=list)
    _known: set[Diagnostic] = field(default_factory=set, repr=False)

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self.items)

    @property
    def errors(self) -> int:
        """How many of them are errors."""
        return sum(item.severity is Severity.ERROR for item in self.items)

    @property
    def warnings(self) -> int:
        """How many of them are warnings."""
        return sum(item.severity is Severity.WARNING for item in self.items)

    def error(
        self,
        code: str,
        message: str,
        span: Span | None = None,
        *,
        help: str | None = None,  # noqa: A002 - the field's own word
        related: Iterable[tuple[Span, str]] = (),
    ) -> None:
        """Adds what keeps a command from doing what was asked."""
        self._add(Diagnostic(code, Severity.ERROR, message, span, help, tuple(related)))

    def warning(
        self,
        code: str,
        message: str,
        span: Span | None = None,
        *,
        help: str | None = None,  # noqa: A002
        related: Iterable[tuple[Span, str]] = (),
    ) -> None:
        """Adds what is probably a mistake but does not stop anything."""
        self._add(Diagnostic(code, Severity.WARNING, message, span, help, tuple(related)))

    def note(
        self,
        code: str,
        message: str,
        span: Span | None = None,
        *,
        help: str | None = None,  # noqa: A002
    ) -> None:
        """Adds what the user should know and need not act on."""
        self._add(Diagnostic(code, Severity.NOTE, message, span, help))

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Adds what was found elsewhere."""
        for diagnostic in diagnostics:
            self._add(diagnostic)

    def _add(self, diagnostic: Diagnostic) -> None:
        if diagnostic not in self._known:
            self._known.add(diagnostic)
            self.items.append(diagnostic)


@dataclass(frozen=True, slots=True)
class Spans:
    """Where the values of one document stand, beside the document and not inside it."""

    values: Mapping[JsonPath, Span]
    keys: Mapping[JsonPath, Span]
    """The span of the key that leads to a path, for paths that end in a mapping's key."""

    def value(self, path: JsonPath) -> Span | None:
        """The place of the value at `path`, or of the nearest value around it."""
        return self._nearest(self.values, path)

    def key(self, path: JsonPath) -> Span | None:
        """The place of the key that `path` ends in, or of the nearest value around it."""
        return self.keys.get(path) or self.value(path)

    @staticmethod
    def _nearest(spans: Mapping[JsonPath, Span], path: JsonPath) -> Span | None:
        for length in range(len(path), -1, -1):
            if (found := spans.get(path[:length])) is not None:
                return found
        return None


_PAGES = Path(__file__).with_name("pages")


def codes() -> list[str]:
    """All codes that have a page, in order."""
    return sorted(path.stem for path in _PAGES.glob("DC*.md"))


def page(code: str) -> str:
    """The page of a code, in Markdown; raises FileNotFoundError for a code without one."""
    return (_PAGES / f"{code}.md").read_text(encoding="utf-8")
