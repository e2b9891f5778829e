"""How work in progress is told to whoever watches, without the core ever printing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener. Every method may be called from any thread and must return at once."""

    def phase(self, text: str, total: int | None = None) -> None:
        """A new stretch of work begins: "reading the server", of `total` items if known."""

    def advance(self, text: str) -> None:
        """One item of the phase is done: "hello/daily updated"."""

    def output(self, source: str, line: str) -> None:
        """A line that a program or a build printed; `source` names the step."""


class NullProgress:
    """The listener that does not listen."""

    def phase(self, text: str, total: int | None = None) -> None:
        """Ignores it."""

    def advance(self, text: str) -> None:
        """Ignores it."""

    def output(self, source: str, line: str) -> None:
        """Ignores it."""
