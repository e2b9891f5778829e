"""A registry of images, by the OCI distribution protocol, which is Docker's Registry API v2.

What comes from a registry is held against its digest, and a blob that breaks off is read on from
there. `registry_upload` sends blobs, `registry_wire` every single request.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from deployctl.clients.http import NoResponse
from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.errors import DigestMismatch, unreachable
from deployctl.clients.registry.transport import Request, Transport
from deployctl.clients.registry.upload import BlobReader, BlobUpload, push_scopes
from deployctl.core.cancellation import CancellationToken
from deployctl.core.retry import Backoff

if TYPE_CHECKING:
    from hashlib import _Hash

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})

_ACCEPT = {"Accept": ", ".join([OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST])}
_PIECE = 1 << 20
DIGEST = re.compile(r"(sha256|sha512):[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest, or an index of them, exactly as it lies in the registry."""

    content: bytes
    type: str
    """Its media type."""
    digest: str


class BlobTransfer(StrEnum):
    """How a blob came into a repository."""

    THERE = "there"
    """It was there before."""
    MOUNTED = "mounted"
    """The registry took it from another of its repositories."""
    UPLOADED = "uploaded"


def digest_of(content: bytes) -> str:
    """`sha256:…` of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def file_reader(path: Path) -> BlobReader:
    """A file as what a blob is sent from."""

    def read(start: int) -> Generator[bytes, None, None]:
        with path.open("rb") as file:
            file.seek(start)
            while piece := file.read(_PIECE):
                yield piece

    return read


class RegistryClient:
    """One registry. Every method may be called from any thread.

    All raise RegistryError, and Interrupted when `stop` is asked.
    """

    def __init__(
        self,
        host: str,
        login: Credentials | None = None,
        *,
        address: str = "",
        stop: CancellationToken | None = None,
        backoff: Backoff = Backoff(),  # noqa: B008 - it is frozen
    ) -> None:
        """`host` may have a port; `login` None is anybody. Opens nothing yet.

        `address`: the host that answers for it, if it is another one.
        """
        self.host = host
        self._wire = Transport(host, address or host, login, stop or CancellationToken(), backoff)

    def close(self) -> None:
        """Closes every connection."""
        self._wire.close()

    # Manifests

    def manifest(self, repository: str, reference: str) -> Manifest:
        """A manifest or index by its tag or digest. Raises NotInRegistry, WrongContent."""
        about = f"read '{_display_name(repository, reference)}'"
        path = f"/v2/{repository}/manifests/{reference}"
        reply = self._wire.ask(Request("GET", path, about, _pull_scope(repository), _ACCEPT))
        kind = reply.headers.get("content-type", "").partition(";")[0].strip()
        digest = reference
        if not DIGEST.fullmatch(reference):
            digest = reply.headers.get("docker-content-digest", "")
            if kind not in INDEXES | MANIFESTS or not DIGEST.fullmatch(digest):
                digest = digest_of(reply.content)
        _verify(hashlib.new(digest.partition(":")[0], reply.content), digest, self.host)
        return Manifest(reply.content, kind, digest)

    def head_manifest(self, repository: str, reference: str) -> str | None:
        """The digest of a manifest or index; None if there is none."""
        about = f"look for '{_display_name(repository, reference)}'"
        path = f"/v2/{repository}/manifests/{reference}"
        scopes = _pull_scope(repository)
        reply = self._wire.ask(Request("HEAD", path, about, scopes, _ACCEPT, missing_ok=True))
        if reply.status == 404:
            return None
        digest = reply.headers.get("docker-content-digest", "")
        return digest if DIGEST.fullmatch(digest) else self.manifest(repository, reference).digest

    def put_manifest(self, repository: str, reference: str, content: bytes, kind: str) -> str:
        """Stores a manifest or index of the media type `kind` under a tag or its digest.

        All that it is made of must be there. Gives its digest.
        """
        about = f"write '{_display_name(repository, reference)}'"
        path = f"/v2/{repository}/manifests/{reference}"
        headers = {"Content-Type": kind}
        reply = self._wire.ask(
            Request("PUT", path, about, push_scopes(repository), headers, body=content)
        )
        digest = digest_of(content)
        said = reply.headers.get("docker-content-digest", digest)
        if said.startswith("sha256:") and said != digest:
            raise DigestMismatch(
                f"the registry '{self.host}' stored another manifest than was sent to it:"
                f" {said} and not {digest}"
            )
        return digest

    # Blobs

    def pull_blob(
        self, repository: str, digest: str, start: int = 0
    ) -> Generator[bytes, None, None]:
        """The content of a blob from byte `start` on; goes on where the connection broke.

        Raises NotInRegistry; WrongContent at its end, where it was read from the beginning.
        """
        hashed = None if start else hashlib.new(digest.partition(":")[0])
        at, waits = start, self._wire.waits()
        while True:
            try:
                for piece in self._pieces(repository, digest, at):
                    at += len(piece)
                    waits = self._wire.waits()
                    if hashed is not None:
                        hashed.update(piece)
                    yield piece
            except NoResponse as lost:
                self._wire.pause(waits, unreachable(self.host, lost))
            else:
                if hashed is not None:
                    _verify(hashed, digest, self.host)
                return

    def push_blob(
        self, repository: str, digest: str, size: int, source: BlobReader, *, mount_from: str = ""
    ) -> BlobTransfer:
        """Puts a blob of `size` bytes into a repository, unless it is there.

        `mount_from`: a repository of this registry that has it. `source` may be asked several
        times. Raises WrongContent where it does not give what the digest says.
        """
        upload = BlobUpload(self._wire, repository, digest, size, source)
        if upload.arrived():
            return BlobTransfer.THERE
        if mount_from and upload.mount(mount_from):
            return BlobTransfer.MOUNTED
        upload.run()
        return BlobTransfer.UPLOADED

    def _pieces(self, repository: str, digest: str, start: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        about = f"read the blob {digest} of '{repository}'"
        path = f"/v2/{repository}/blobs/{digest}"
        request = Request("GET", path, about, _pull_scope(repository), headers)
        with self._wire.open(request) as response:
            skip = start if response.status_code != 206 else 0
            with self._wire.translated():
                for piece in response.iter_raw(_PIECE):
                    self._wire.stop.raise_if_cancelled()
                    yield piece[skip:]
                    skip = max(0, skip - len(piece))


def _pull_scope(repository: str) -> tuple[str, ...]:
    return (f"repository:{repository}:pull",)


def _display_name(repository: str, reference: str) -> str:
    return f"{repository}{'@' if ':' in reference else ':'}{reference}"


def _verify(hashed: _Hash, digest: str, host: str) -> None:
    if hashed.hexdigest() != digest.partition(":")[2]:
        raise DigestMismatch(
            f"what the registry '{host}' gave for {digest} is something else:"
            f" {hashed.name}:{hashed.hexdigest()}",
            help="try again; if it stays so, the registry, or something before it, is broken",
        )
