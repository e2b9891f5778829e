"""Reproducible tar archives: the same members give the same bytes on any machine."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

from deployctl.images.context import ContextEntry, EntryType

MTIME = 315_619_200
"""Modification time of every member: 2 January 1980, in seconds since the epoch. ZIP has no time
before 1980 in any time zone, so tools that pack installed files as ZIP fail on older ones."""
_BUFFER = 1 << 20
_SET_ID = stat.S_ISUID | stat.S_ISGID
_TYPES = {
    EntryType.FILE: tarfile.REGTYPE,
    EntryType.FOLDER: tarfile.DIRTYPE,
    EntryType.LINK: tarfile.SYMTYPE,
    EntryType.PIPE: tarfile.FIFOTYPE,
}


@dataclass(frozen=True, slots=True)
class Owner:
    """Numeric user and group id."""

    user: int = 0
    group: int = 0


ROOT = Owner()


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file, directory or link in an archive, without its path."""

    type: EntryType
    mode: int
    """Permission bits."""
    owner: Owner = ROOT
    target: str = ""
    """Target of a link."""
    content: ContextEntry | bytes = b""
    """Content of a file."""

    @classmethod
    def of(cls, entry: ContextEntry, owner: Owner = ROOT, mode: int | None = None) -> TarMember:
        """A context entry with another owner; `mode` None keeps its permissions.

        Setuid and setgid bits of files are dropped then, as chown(2) drops them.
        """
        if mode is None or entry.type is EntryType.LINK:
            mode = entry.mode & ~_SET_ID if entry.type is EntryType.FILE else entry.mode
        return cls(entry.type, mode, owner, entry.target, _content(entry))


def write_tar(members: Iterable[tuple[str, TarMember]], out: BinaryIO) -> None:
    """Writes an archive of `(path, member)` pairs to `out`, which need not be seekable.

    Raises UnreadableContext.
    """
    buffers: dict[str, Any] = {"bufsize": _BUFFER, "copybufsize": _BUFFER}
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, **buffers) as archive:
        for path, member in members:
            _add(archive, path, member)


def write_context(entries: Iterable[ContextEntry], out: BinaryIO) -> None:
    """Writes an archive of context entries, owned by user and group 0. Raises UnreadableContext."""
    write_tar(
        (
            (each.path, TarMember(each.type, each.mode, ROOT, each.target, _content(each)))
            for each in entries
        ),
        out,
    )


def _content(entry: ContextEntry) -> ContextEntry | bytes:
    return entry if entry.type is EntryType.FILE else b""


def _add(archive: tarfile.TarFile, path: str, member: TarMember) -> None:
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.linkname = _TYPES[member.type], member.mode, member.target
    info.mtime = MTIME
    info.uid, info.gid = member.owner.user, member.owner.group
    if isinstance(member.content, bytes):
        info.size = len(member.content)
        archive.addfile(info, io.BytesIO(member.content))
        return
    info.size = member.content.size
    with member.content.open() as file:
        archive.addfile(info, file)
        file.expect_end()
