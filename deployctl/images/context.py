"""Build context: the files of a directory that `.dockerignore` does not exclude, in a fixed order.

Two machines with the same files get the same entries: owners and modification times are ignored,
permissions are not. Symbolic links stay links, wherever they point; sockets and devices are not
part of a context. File contents are read when they are needed and never held in memory as a whole.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from deployctl.core.errors import DeployctlError
from deployctl.images.dockerignore import DockerIgnore


class UnreadableContext(DeployctlError):
    """A file or directory of the context cannot be read, or changed while it was read."""

    code = "DC702"


class EntryType(StrEnum):
    """Type of a file. The values are part of content tags and must not change."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    PIPE = "pipe"


_TYPES = {
    stat.S_IFREG: EntryType.FILE,
    stat.S_IFDIR: EntryType.FOLDER,
    stat.S_IFLNK: EntryType.LINK,
    stat.S_IFIFO: EntryType.PIPE,
}
_CHUNK = 1 << 20


class _EntryReader:
    """Reads exactly as many bytes of a file as it had when the context was walked."""

    def __init__(self, path: str, file: BinaryIO, size: int, mtime_ns: int) -> None:
        self._path, self._file, self._remaining, self._mtime_ns = path, file, size, mtime_ns

    def read(self, size: int = _CHUNK, /) -> bytes:
        """Up to `size` more bytes; empty at the end. Raises UnreadableContext."""
        expected = min(size, self._remaining)
        with _read_errors(self._path):
            data = self._file.read(expected)
        if len(data) < expected:
            raise self._changed()
        self._remaining -= len(data)
        return data

    def expect_end(self) -> None:
        """Raises UnreadableContext if the file has grown or was written since the walk."""
        with _read_errors(self._path):
            mtime_ns = os.fstat(self._file.fileno()).st_mtime_ns
            if self._file.read(1) or mtime_ns != (self._mtime_ns or mtime_ns):
                raise self._changed()

    def _changed(self) -> UnreadableContext:
        return UnreadableContext(
            f"'{self._path}' changed while it was read",
            help="Exclude files that are written during the build in .dockerignore.",
        )


@contextmanager
def _read_errors(path: str) -> Iterator[None]:
    """Translates OSError to UnreadableContext."""
    try:
        yield
    except OSError as error:
        raise UnreadableContext(
            f"cannot read '{path}' of the build context: {error.strerror}",
            help="Make it readable for your user, or exclude it in .dockerignore.",
        ) from error


@dataclass(frozen=True)
class ContextEntry:
    """One file, directory or link of a context."""

    path: str
    """Relative to the context, with `/` as the separator."""
    type: EntryType
    mode: int
    """Permission bits."""
    size: int
    """In bytes; 0 for everything but files."""
    target: str
    """Target of a link; "" for everything else."""
    local_path: Path
    """Path on this machine."""
    mtime_ns: int = field(default=0, compare=False)
    """Modification time in nanoseconds since the epoch; 0 if unknown."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of a file's content in hex; "" for everything else. Raises UnreadableContext."""
        if self.type is not EntryType.FILE:
            return ""
        sha256 = hashlib.sha256()
        with self.open() as file:
            while data := file.read(_CHUNK):
                sha256.update(data)
        return sha256.hexdigest()

    @contextmanager
    def open(self) -> Iterator[_EntryReader]:
        """Opens the file for reading. Raises UnreadableContext, also from the reader's `read`."""
        with _read_errors(self.path):
            file = self.local_path.open("rb")
        with file:
            yield _EntryReader(self.path, file, self.size, self.mtime_ns)


def walk_context(root: Path, ignore: DockerIgnore) -> list[ContextEntry]:
    """All entries of a context, sorted, directories before their contents.

    An excluded directory is listed if something in it is not excluded. Raises UnreadableContext.
    """
    return list(_walk(root, "", ignore, ignore.root_matches))


def with_engine_files(seen: Iterable[ContextEntry], root: Path, *paths: str) -> list[ContextEntry]:
    """The entries that are sent to an engine: the context, and files that the engine itself reads.

    `paths`: like `Dockerfile` and `.dockerignore`; a missing one is skipped.
    """
    found = {entry.path: entry for entry in seen}
    for path in paths:
        for part in [*reversed(Path(path).parents), Path(path)][1:]:
            if part.as_posix() not in found and (entry := _entry(root / part, part.as_posix())):
                found[entry.path] = entry
    return sorted(found.values(), key=lambda entry: entry.path.split("/"))


def _decode_name(name: str) -> str:
    """A file name as UTF-8, independent of the locale's encoding."""
    return os.fsencode(name).decode(errors="surrogateescape")


def _encode_name(name: str) -> str:
    """The inverse of `_decode_name`."""
    return os.fsdecode(name.encode(errors="surrogateescape"))


def _walk(
    root: Path, parent: str, ignore: DockerIgnore, matches: tuple[bool, ...]
) -> Iterator[ContextEntry]:
    """The entries below the directory `parent` of the context."""
    with _read_errors(parent or str(root)):
        # os.listdir: Path.iterdir would create a Path for each name.
        found = os.listdir(root / _encode_name(parent))  # noqa: PTH208
    for name in sorted(map(_decode_name, found)):
        path = f"{parent}/{name}" if parent else name
        excluded, inner = ignore.match(path, matches)
        if excluded and ignore.excludes_below(path):
            continue
        if not (entry := _entry(root / _encode_name(path), path)):
            continue
        below = _walk(root, path, ignore, inner) if entry.type is EntryType.FOLDER else iter(())
        first = next(below, None) if excluded else None
        if first or not excluded:
            yield entry
        if first:
            yield first
        yield from below


def _entry(local_path: Path, path: str) -> ContextEntry | None:
    """The entry at a path; None if nothing is there, or something that contexts cannot hold."""
    with _read_errors(path):
        try:
            found = local_path.lstat()
            type_ = _TYPES.get(stat.S_IFMT(found.st_mode))
            # os.readlink: Path.readlink would normalize the target.
            target = _decode_name(os.readlink(local_path)) if type_ is EntryType.LINK else ""  # noqa: PTH115
        except (FileNotFoundError, NotADirectoryError):
            return None
    if type_ is None:
        return None
    size = found.st_size if type_ is EntryType.FILE else 0
    mode = stat.S_IMODE(found.st_mode)
    return ContextEntry(path, type_, mode, size, target, local_path, found.st_mtime_ns)
