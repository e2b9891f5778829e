"""Where output goes: data to stdout, progress and diagnostics to stderr."""

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
    """What was to be shown could not be written; there is no use in saying so there."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(reason.strerror)
        self.reader_is_gone = isinstance(reason, BrokenPipeError)


class Checked:
    """A stream whose failures are OutputErrors, whoever writes to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Raises OutputError."""
        with _checked():
            return self._stream.write(text)

    def flush(self) -> None:
        """Raises OutputError."""
        with _checked():
            self._stream.flush()


@contextmanager
def _checked() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(error) from error


def console(*, stderr: bool) -> Console:
    """A console that colours on a terminal, or as NO_COLOR and FORCE_COLOR say, and never wraps."""
    from rich.console import Console

    return Console(
        stderr=stderr,
        highlight=False,
        soft_wrap=True,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def write(lines: Iterable[Text | str], *, stderr: bool = False) -> None:
    """Prints lines, all in one go: a log that others write to as well stays readable."""
    out = console(stderr=stderr)
    with out.capture() as held:
        for line in lines:
            out.print(line)
    stream = sys.stderr if stderr else sys.stdout
    if stream is None:
        return
    stream.write(held.get())
    stream.flush()


class ProgressReporter:
    """Tells progress on stderr: one moving line on a terminal, elsewhere what programs print."""

    def __init__(self, *, quiet: bool) -> None:
        """`quiet`: only what programs print is shown."""
        self._console = console(stderr=True)
        live = self._console.is_terminal and not os.environ.get("CI")
        self._status: Status | None = None
        if live and not quiet:
            self._status = self._console.status("")
            self._status.start()
        self._total = 0
        self._count = 0
        self._phase = ""

    def close(self) -> None:
        """Takes the moving line away."""
        if self._status is not None:
            self._status.stop()

    def phase(self, text: str, total: int | None = None) -> None:
        """A new stretch of work begins."""
        self._phase, self._total, self._count = text, total or 0, 0
        self._show("")

    def advance(self, text: str) -> None:
        """One item of the phase is done."""
        self._count += 1
        self._show(text)

    def write(self, lines: Iterable[Text | str]) -> None:
        """Prints lines to stdout, out of the way of the moving line."""
        if self._status is not None:
            self._status.stop()
        write(lines)
        if self._status is not None:
            self._status.start()

    def output(self, source: str, line: str) -> None:
        """A line that a program printed, marked with the step that it comes from."""
        self._console.print(f"{source} | {redact(line)}")

    def _show(self, text: str) -> None:
        if self._status is not None:
            count = f" {self._count}/{self._total}" if self._total else ""
            self._status.update(f"{self._phase}{count} {redact(text)}")
