"""The interface through which use cases report progress; only the command line renders it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A progress listener. Every method may be called from any thread and must not block."""

    def phase(self, text: str, total: int | None = None) -> None:
        """A phase starts, e.g. "reading the server". `total` is its number of items, if known."""

    def advance(self, text: str) -> None:
        """One item of the phase is complete, e.g. "hello/daily updated"."""

    def output(self, source: str, line: str) -> None:
        """A program or a build printed a line; `source` names the step."""


class NullProgress:
    """A listener that ignores everything."""

    def phase(self, text: str, total: int | None = None) -> None:
        """Does nothing."""

    def advance(self, text: str) -> None:
        """Does nothing."""

    def output(self, source: str, line: str) -> None:
        """Does nothing."""
