"""Console output: data to stdout, progress and diagnostics to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from deployctl.core.redact import redact

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from rich.text import Text


class OutputError(Exception):
    """Writing to stdout or stderr failed."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(reason.strerror)
        self.is_broken_pipe = isinstance(reason, BrokenPipeError)


class CheckedStream:
    """A text stream that raises OutputError for each OSError of a write, from any caller."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text. Raises OutputError."""
        with _output_errors():
            return self._stream.write(text)

    def flush(self) -> None:
        """Flushes the stream. Raises OutputError."""
        with _output_errors():
            self._stream.flush()


@contextmanager
def _output_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(error) from error


def console(*, stderr: bool) -> Console:
    """A Rich console that never wraps. It uses colour on a terminal; NO_COLOR and FORCE_COLOR
    decide otherwise."""
    from rich.console import Console

    return Console(
        stderr=stderr,
        highlight=False,
        soft_wrap=True,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None for a file, a pipe or a CI system.

    Colour that FORCE_COLOR asks for makes no terminal of a pipe.
    """
    if not _is_terminal(sys.stdout):
        return None
    return console(stderr=False).width


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty() and not os.environ.get("CI")


def write(lines: Iterable[Text | str], *, stderr: bool = False) -> None:
    """Prints lines with one write, so that they stay together in a log with several writers."""
    out = console(stderr=stderr)
    with out.capture() as captured:
        for line in lines:
            out.print(line)
    stream = sys.stderr if stderr else sys.stdout
    if stream is None:
        return
    stream.write(captured.get())
    stream.flush()


class ProgressReporter:
    """Shows progress on stderr: a status line on a terminal, elsewhere only output of programs."""

    def __init__(self, *, quiet: bool) -> None:
        """`quiet`: shows no status line, only the output of programs."""
        self._console = console(stderr=True)
        self._status: Status | None = None
        if _is_terminal(sys.stderr) and self._console.is_terminal and not quiet:
            self._status = self._console.status("")
            self._status.start()
        self._total = 0
        self._count = 0
        self._phase = ""

    def close(self) -> None:
        """Removes the status line."""
        if self._status is not None:
            self._status.stop()

    @property
    def current_phase(self) -> str:
        """The phase of work that was started last; "" before the first."""
        return self._phase

    def phase(self, text: str, total: int | None = None) -> None:
        """Starts a phase of work with `total` items."""
        self._phase, self._total, self._count = text, total or 0, 0
        self._show("")

    def advance(self, text: str) -> None:
        """Counts one item of the phase as done."""
        self._count += 1
        self._show(text)

    def write(self, lines: Iterable[Text | str], *, stderr: bool = False) -> None:
        """Prints lines to stdout or stderr; the status line is removed meanwhile."""
        if self._status is not None:
            self._status.stop()
        write(lines, stderr=stderr)
        if self._status is not None:
            self._status.start()

    def output(self, source: str, line: str) -> None:
        """Prints a line of a program's output, prefixed with the step that it comes from."""
        self._console.print(f"{source} | {redact(line)}")

    def _show(self, text: str) -> None:
        if self._status is not None:
            count = f" {self._count}/{self._total}" if self._total else ""
            self._status.update(f"{self._phase}{count} {redact(text)}")
