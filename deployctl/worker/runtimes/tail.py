"""Reads a file of printed lines while somebody writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_MOST_BYTES = 256 * 1024


class Tail:
    """A place in a file, from which on its lines are still to be read."""

    def __init__(self, path: Path, *, at_end: bool = False) -> None:
        self._path = path
        self._offset = _size(path) if at_end else 0

    def read(self, *, final: bool = False) -> Sequence[str]:
        """The next whole lines without their ends; at most 256 KiB of them.

        `final`: nobody writes any more, so that a last line needs no end.
        """
        lines: list[str] = []
        while chunk := self._chunk():
            whole = chunk.rfind(b"\n") + 1
            if not whole and (final or len(chunk) == _MOST_BYTES):
                whole = len(chunk)
            if not whole:
                break
            self._offset += whole
            lines += chunk[:whole].decode(errors="replace").splitlines()
            if not final:
                break
        return lines

    def _chunk(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                return file.read(_MOST_BYTES)
        except FileNotFoundError:
            return b""


def last_lines(path: Path, count: int) -> Sequence[str]:
    """The last lines of a file, from its last 256 KiB; empty where there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, _size(path) - _MOST_BYTES))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
