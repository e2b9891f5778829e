"""Reads lines from a file that is still being written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_MAX_BYTES = 256 * 1024


class Tail:
    """Reader that returns each line of a growing file once."""

    def __init__(self, path: Path, *, at_end: bool = False) -> None:
        """`at_end`: skip what the file holds already."""
        self._path = path
        self._offset = _size(path) if at_end else 0

    def read(self, *, final: bool = False) -> Sequence[str]:
        """The next complete lines, without line ends; at most 256 KiB of them.

        `final`: the file is complete, so that all of it is read and the last line needs no line
        end.
        """
        lines: list[str] = []
        while chunk := self._next_chunk():
            size = chunk.rfind(b"\n") + 1
            if not size and (final or len(chunk) == _MAX_BYTES):
                size = len(chunk)
            if not size:
                break
            self._offset += size
            lines += chunk[:size].decode(errors="replace").splitlines()
            if not final:
                break
        return lines

    def _next_chunk(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                return file.read(_MAX_BYTES)
        except FileNotFoundError:
            return b""


def last_lines(path: Path, count: int) -> Sequence[str]:
    """The last lines of a file, from its last 256 KiB; empty if the file does not exist."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, _size(path) - _MAX_BYTES))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
