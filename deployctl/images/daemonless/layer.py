"""One image layer: files as a gzipped tar archive that is byte-identical on any machine.

Everything that could differ is fixed: modification times, the order of names, numeric owners. The
archive is stored in gzip without compression, because the output of a compressor depends on its
version and implementation, and so would the digest. This is fast, and the source code of a project
is small; layers of the base image keep their compression.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from deployctl.core.errors import DeployctlError
from deployctl.images.tar import TarMember, write_tar

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # RFC 1952: deflate, no name, no time, no system
_BLOCK = 0xFFFF  # RFC 1951, 3.2.4: the most that a stored block can hold


class LayerNotWritten(DeployctlError):
    """A layer cannot be written to disk."""

    code = "DC741"


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A layer as a blob: a local file, or one that is in the image's repository already."""

    path: Path | None
    """None: the blob is in the image's repository."""
    digest: str
    """`sha256:…` of the compressed file."""
    diff_id: str
    """`sha256:…` of the uncompressed archive."""
    size: int
    """Size of the file in bytes."""


def write_layer(members: Mapping[str, TarMember], path: Path) -> LayerBlob:
    """Writes a layer to `path`; `members` by their path relative to the root.

    Raises UnreadableContext, LayerNotWritten.
    """
    try:
        with path.open("wb") as file:
            gzip = _GzipWriter(file)
            ordered = sorted(members.items(), key=lambda item: item[0].split("/"))
            write_tar(ordered, cast("BinaryIO", gzip))  # a stream archive only needs `write`
            gzip.finish()
    except OSError as error:
        raise LayerNotWritten(
            f"cannot write the layer to '{path.parent}': {error.strerror}",
            help="Set TMPDIR to another directory, or exclude files in .dockerignore.",
        ) from error
    return LayerBlob(path, gzip.digest, gzip.diff_id, path.stat().st_size)


@dataclass
class _GzipWriter:
    """Writes data as gzip in stored blocks of a fixed size, and hashes both sides."""

    out: BinaryIO
    _pending: bytearray = field(default_factory=bytearray)
    _crc: int = 0
    _size: int = 0
    _plain_sha256: Any = field(default_factory=hashlib.sha256)
    _gzip_sha256: Any = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        self._put(_HEADER)

    def write(self, data: bytes) -> int:
        """Compresses some data."""
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._plain_sha256.update(data)
        self._pending += data
        at, end = 0, len(self._pending) - _BLOCK
        while at < end:  # at least one byte stays, because the last block needs its flag
            self._block(bytes(self._pending[at : at + _BLOCK]))
            at += _BLOCK
        del self._pending[:at]
        return len(data)

    def finish(self) -> None:
        """Writes the last block and the trailer."""
        self._block(bytes(self._pending), last=True)
        self._put(struct.pack("<LL", self._crc, self._size & 0xFFFFFFFF))

    @property
    def digest(self) -> str:
        """Digest of the compressed data."""
        return f"sha256:{self._gzip_sha256.hexdigest()}"

    @property
    def diff_id(self) -> str:
        """Digest of the uncompressed data."""
        return f"sha256:{self._plain_sha256.hexdigest()}"

    def _block(self, data: bytes, *, last: bool = False) -> None:
        self._put(struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF))
        self._put(data)

    def _put(self, data: bytes) -> None:
        self._gzip_sha256.update(data)
        self.out.write(data)
