"""One layer of an image: files as a tar archive that is the same, byte by byte, on any machine.

What could differ is fixed: all is of the same time, names are sorted, owners are numbers. The
archive is packed as gzip without being made smaller, because what a compressor gives depends on its
version and maker, and the digest with it. That is quick, and for the source code of a project the
bytes that it costs hardly count; a base image keeps the layers that it has, packed as they are.
"""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from deployctl.core.errors import DeployctlError
from deployctl.images.context import MTIME, TAR_TYPES, Entry, EntryType

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # RFC 1952: deflate, no name, no time, no system
_BLOCK = 0xFFFF  # RFC 1951, 3.2.4: the most that a block which is not compressed can hold
_RECORD = 1 << 20
_RUN_AS_OWNER = stat.S_ISUID | stat.S_ISGID


@dataclass(frozen=True, slots=True)
class Owner:
    """Numbers of a user and a group."""

    user: int = 0
    group: int = 0


ROOT = Owner()


class LayerNotWritten(DeployctlError):
    """There is no room for a layer."""

    code = "DC741"


@dataclass(frozen=True, slots=True)
class LayerEntry:
    """What lies under a name in a layer."""

    kind: EntryType
    mode: int
    """The permission bits."""
    owner: Owner = ROOT
    target: str = ""
    """Where a link points."""
    content: Entry | bytes = b""
    """Of a file."""

    @classmethod
    def of(cls, entry: Entry, owner: Owner = ROOT, mode: int | None = None) -> LayerEntry:
        """An entry of a context, given to `owner`; `mode` None keeps its own permissions, but not
        that a file runs as its owner or group, which no system leaves to who gives it away."""
        if mode is None or entry.kind is EntryType.LINK:
            mode = entry.mode & ~_RUN_AS_OWNER if entry.kind is EntryType.FILE else entry.mode
        content = entry if entry.kind is EntryType.FILE else b""
        return cls(entry.kind, mode, owner, entry.target, content)


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A layer that was written."""

    path: Path | None
    """None: it is in the image's repository already."""
    digest: str
    """`sha256:…` of the file."""
    diff_id: str
    """`sha256:…` of the archive in it."""
    size: int
    """Of the file, in bytes."""


def write_layer(items: Mapping[str, LayerEntry], path: Path) -> LayerBlob:
    """Writes a layer. `items`: by paths relative to the root. Raises Unreadable, NotWritten."""
    try:
        with path.open("wb") as file:
            packed = _GzipWriter(file)
            _fill(packed, items)
            packed.finish()
    except OSError as error:
        raise LayerNotWritten(
            f"the layer cannot be written to '{path.parent}': {error.strerror}",
            help="name another folder with TMPDIR, or leave files out in .dockerignore",
        ) from error
    return LayerBlob(path, packed.digest, packed.diff_id, path.stat().st_size)


def _fill(packed: _GzipWriter, items: Mapping[str, LayerEntry]) -> None:
    """Writes the archive."""
    buffers: dict[str, Any] = {"bufsize": _RECORD, "copybufsize": _RECORD}
    out = cast("BinaryIO", packed)  # all that a stream needs is `write`
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, **buffers) as archive:
        for name in sorted(items, key=lambda name: name.split("/")):
            _add(archive, name, items[name])


def _add(archive: tarfile.TarFile, name: str, item: LayerEntry) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = TAR_TYPES[item.kind], item.mode, item.target
    info.mtime = MTIME
    info.uid, info.gid = item.owner.user, item.owner.group
    if isinstance(item.content, bytes):
        info.size = len(item.content)
        archive.addfile(info, io.BytesIO(item.content))
        return
    info.size = item.content.size
    with item.content.open() as file:
        archive.addfile(info, file)
        file.expect_end()


@dataclass
class _GzipWriter:
    """A file-like that writes what it gets as gzip, in blocks of fixed size."""

    out: BinaryIO
    _rest: bytearray = field(default_factory=bytearray)
    _crc: int = 0
    _size: int = 0
    _plain: Any = field(default_factory=hashlib.sha256)
    _whole: Any = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        self._put(_HEADER)

    def write(self, data: bytes) -> int:
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._plain.update(data)
        self._rest += data
        at, end = 0, len(self._rest) - _BLOCK
        while at < end:  # something is left, for the last block has a mark
            self._block(bytes(self._rest[at : at + _BLOCK]))
            at += _BLOCK
        del self._rest[:at]
        return len(data)

    def finish(self) -> None:
        self._block(bytes(self._rest), last=True)
        self._put(struct.pack("<LL", self._crc, self._size & 0xFFFFFFFF))

    @property
    def digest(self) -> str:
        return f"sha256:{self._whole.hexdigest()}"

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._plain.hexdigest()}"

    def _block(self, data: bytes, *, last: bool = False) -> None:
        self._put(struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF))
        self._put(data)

    def _put(self, data: bytes) -> None:
        self._whole.update(data)
        self.out.write(data)
