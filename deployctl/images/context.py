"""The files that a build sees: what is in a folder and not left out, always in the same order.

Two machines with the same files get the same entries and the same archive, byte by byte: owners
and times do not count, permissions do. Symbolic links stay links, wherever they point; sockets and
devices are no part of a context. Files are read when they are needed, never all into memory.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from deployctl.core.errors import DeployctlError
from deployctl.images.dockerignore import DockerIgnore


class UnreadableContext(DeployctlError):
    """A file or folder of the context cannot be read, or changed while it was."""

    code = "DC702"


class EntryType(StrEnum):
    """What an entry is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    PIPE = "pipe"


_KINDS = {
    stat.S_IFREG: EntryType.FILE,
    stat.S_IFDIR: EntryType.FOLDER,
    stat.S_IFLNK: EntryType.LINK,
    stat.S_IFIFO: EntryType.PIPE,
}
TAR_TYPES = {
    EntryType.FILE: tarfile.REGTYPE,
    EntryType.FOLDER: tarfile.DIRTYPE,
    EntryType.LINK: tarfile.SYMTYPE,
    EntryType.PIPE: tarfile.FIFOTYPE,
}

MTIME = 315_619_200
"""When everything in an image was changed last, in seconds of the epoch: on 2 January 1980. What
packs its own files as ZIP, which knows no time before 1980 in any zone, fails on older ones."""
_CHUNK = 1 << 20


class _EntryReader:
    """A file of which exactly so much is read as it had when it was found."""

    def __init__(self, path: str, file: BinaryIO, size: int, changed: int) -> None:
        self._path, self._file, self._left, self._time = path, file, size, changed

    def read(self, size: int = _CHUNK, /) -> bytes:
        """At most `size` bytes more, and none at the end. Raises Unreadable."""
        wanted = min(size, self._left)
        with _read_errors(self._path):
            data = self._file.read(wanted)
        if len(data) < wanted:
            raise self._changed()
        self._left -= len(data)
        return data

    def expect_end(self) -> None:
        """Raises Unreadable if there is more than there was, or it was written since."""
        with _read_errors(self._path):
            time = os.fstat(self._file.fileno()).st_mtime_ns
            if self._file.read(1) or time != (self._time or time):
                raise self._changed()

    def _changed(self) -> UnreadableContext:
        return UnreadableContext(
            f"'{self._path}' changed while it was read",
            help="leave out what is written during the build, in .dockerignore",
        )


@contextmanager
def _read_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnreadableContext(
            f"'{path}' of the build context cannot be read: {error.strerror}",
            help="give yourself the right to read it, or leave it out in .dockerignore",
        ) from error


@dataclass(frozen=True)
class Entry:
    """One file, folder or link of a context."""

    path: str
    """Relative to the context, with `/` between its parts."""
    kind: EntryType
    mode: int
    """The permission bits."""
    size: int
    """In bytes; 0 for all but files."""
    target: str
    """Where a link points; "" for all else."""
    source: Path
    """Where it lies on this machine."""
    changed: int = field(default=0, compare=False)
    """When it was changed last, in nanoseconds of the epoch; 0 if nobody knows."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of a file's content, in hexadecimal; "" for all else. Raises Unreadable."""
        if self.kind is not EntryType.FILE:
            return ""
        hashed = hashlib.sha256()
        with self.open() as file:
            while data := file.read(_CHUNK):
                hashed.update(data)
        return hashed.hexdigest()

    @contextmanager
    def open(self) -> Iterator[_EntryReader]:
        """The file's content, for reading. Raises Unreadable, also from its `read`."""
        with _read_errors(self.path):
            file = self.source.open("rb")
        with file:
            yield _EntryReader(self.path, file, self.size, self.changed)


def walk_context(folder: Path, ignore: DockerIgnore) -> list[Entry]:
    """All entries of a context, folders before what is in them, sorted. Raises Unreadable.

    A folder that is left out is there all the same if something in it is not.
    """
    return list(_walk(folder, "", ignore, ignore.at_root))


def with_engine_files(seen: Iterable[Entry], folder: Path, *always: str) -> list[Entry]:
    """What an engine is sent: all that the build sees, and files that the engine itself reads.

    `always`: paths like `Dockerfile` and `.dockerignore`; one that is not there is left out.
    """
    found = {entry.path: entry for entry in seen}
    for path in always:
        for part in [*reversed(Path(path).parents), Path(path)][1:]:
            if part.as_posix() not in found and (entry := _entry(folder / part, part.as_posix())):
                found[entry.path] = entry
    return sorted(found.values(), key=lambda entry: entry.path.split("/"))


def write_tar(content: Iterable[Entry], out: BinaryIO) -> None:
    """Writes a tar archive of the entries to `out`, which need not be seekable.

    All belongs to user and group 0 and is of the same TIME. Raises Unreadable.
    """
    buffers: dict[str, Any] = {"bufsize": _CHUNK, "copybufsize": _CHUNK}
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, **buffers) as archive:
        for entry in content:
            info = tarfile.TarInfo(entry.path)
            info.type = TAR_TYPES[entry.kind]
            info.mode, info.size, info.linkname = entry.mode, entry.size, entry.target
            info.mtime = MTIME
            if entry.kind is EntryType.FILE:
                with entry.open() as file:
                    archive.addfile(info, file)
                    file.expect_end()
            else:
                archive.addfile(info)


def _utf8(name: str) -> str:
    """A name of the file system as UTF-8, whatever its encoding is by the locale."""
    return os.fsencode(name).decode(errors="surrogateescape")


def _local(name: str) -> str:
    """The inverse of it."""
    return os.fsdecode(name.encode(errors="surrogateescape"))


def _walk(
    folder: Path, parent: str, ignore: DockerIgnore, matches: tuple[bool, ...]
) -> Iterator[Entry]:
    """The entries below one folder, which is called `parent` in the context."""
    with _read_errors(parent or str(folder)):
        found = os.listdir(folder / _local(parent))  # noqa: PTH208 - names, without a Path each
    for name in sorted(map(_utf8, found)):
        path = f"{parent}/{name}" if parent else name
        excluded, inner = ignore.step(path, matches)
        if (excluded and ignore.closes(path)) or not (entry := _entry(folder / _local(path), path)):
            continue
        below = _walk(folder, path, ignore, inner) if entry.kind is EntryType.FOLDER else iter(())
        first = next(below, None) if excluded else None
        if first or not excluded:
            yield entry
        if first:
            yield first
        yield from below


def _entry(source: Path, path: str) -> Entry | None:
    """What lies there; None for nothing, and for what no context has."""
    with _read_errors(path):
        try:
            found = source.lstat()
            kind = _KINDS.get(stat.S_IFMT(found.st_mode))
            target = _utf8(os.readlink(source)) if kind is EntryType.LINK else ""  # noqa: PTH115 - as written
        except (FileNotFoundError, NotADirectoryError):
            return None
    size = found.st_size if kind is EntryType.FILE else 0
    if kind is None:
        return None
    mode = stat.S_IMODE(found.st_mode)
    return Entry(path, kind, mode, size, target, source, found.st_mtime_ns)
