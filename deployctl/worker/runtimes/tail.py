"""Reads lines of logs: of a file that is still being written, and the last ones of any log.

A program may print lines of any length, without end: nothing here holds more than MAX_BYTES of them
at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

MAX_BYTES = 256 * 1024
MAX_LINE = 64 * 1024
"""Characters that are kept of a line."""
_FEWER = 4
"""By how much the number of lines is divided as long as they are too many bytes."""


class Tail:
    """Reader that returns each line of a growing file once."""

    def __init__(self, path: Path, *, at_end: bool = False) -> None:
        """`at_end`: skip what the file holds already."""
        self._path = path
        self._offset = _size(path) if at_end else 0

    def read(self, *, final: bool = False) -> Iterator[str]:
        """Yields the next complete lines, without line ends; at most 256 KiB of them.

        `final`: the file is complete, so that all of it is read and the last line needs no line
        end.
        """
        while chunk := self._next_chunk():
            size = chunk.rfind(b"\n") + 1
            if not size and (final or len(chunk) == MAX_BYTES):
                size = len(chunk)
            if not size:
                break
            self._offset += size
            yield from chunk[:size].decode(errors="replace").splitlines()
            if not final:
                break

    def _next_chunk(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                return file.read(MAX_BYTES)
        except FileNotFoundError:
            return b""


def last_lines_within_limit(read: Callable[[int], Iterable[str]], count: int) -> Sequence[str]:
    """The last `count` lines of a log; fewer if those have more than MAX_BYTES characters.

    `read(n)` yields the last n lines, the oldest first. No API can limit the size from the end, so
    the log is read again with fewer lines until they fit. Raises what `read` raises.
    """
    while True:
        lines, size = list[str](), 0
        for line in read(count):
            size += len(line)
            if size > MAX_BYTES and count > 1:
                break
            lines.append(line[:MAX_LINE])
        else:
            return lines
        count = max(1, count // _FEWER)


def last_lines(path: Path, count: int) -> Sequence[str]:
    """The last lines of a file, from its last 256 KiB; empty if the file does not exist."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, _size(path) - MAX_BYTES))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
