"""Client of one image registry: the OCI distribution protocol, alias Docker Registry API v2.

Content is verified against its digest, and an interrupted download of a blob is resumed. Uploads
are in `upload`, single requests with authentication and retries in `transport`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from deployctl.clients.http import NoResponse
from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.errors import DigestMismatch, RegistryError, no_response_error
from deployctl.clients.registry.transport import RegistryRequest, Transport
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
class ImageManifest:
    """A manifest or index, byte for byte as stored in the registry."""

    content: bytes
    type: str
    """Media type."""
    digest: str


class BlobTransfer(StrEnum):
    """How a blob came into a repository."""

    EXISTING = "existing"
    """It was there before."""
    MOUNTED = "mounted"
    """The registry mounted it from another of its repositories."""
    UPLOADED = "uploaded"


def digest_of(content: bytes) -> str:
    """The digest `sha256:…` of some content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def file_reader(path: Path) -> BlobReader:
    """Reads the content of a blob from a file."""

    def _read(start: int) -> Generator[bytes, None, None]:
        with path.open("rb") as file:
            file.seek(start)
            while piece := file.read(_PIECE):
                yield piece

    return _read


class RegistryClient:
    """A registry. Thread-safe; all methods raise RegistryError, and Interrupted on cancellation."""

    def __init__(
        self,
        host: str,
        credentials: Credentials | None = None,
        *,
        address: str = "",
        cancellation: CancellationToken | None = None,
        backoff: Backoff = Backoff(),  # noqa: B008 - it is frozen
    ) -> None:
        """Opens no connection yet.

        `host` may have a port. `credentials` None is anonymous access. `address` is the host to
        connect to, if it is another one.
        """
        self.host = host
        self._transport = Transport(
            host, address or host, credentials, cancellation or CancellationToken(), backoff
        )

    def close(self) -> None:
        """Closes all connections."""
        self._transport.close()

    # Manifests

    def manifest(self, repository: str, reference: str) -> ImageManifest:
        """A manifest or index by its tag or digest. Raises NotInRegistry, DigestMismatch."""
        request = _manifest_request("GET", "read", repository, reference)
        response = self._transport.send(request)
        media_type = response.headers.get("content-type", "").partition(";")[0].strip()
        digest = reference
        if not DIGEST.fullmatch(reference):
            digest = response.headers.get("docker-content-digest", "")
            if media_type not in INDEXES | MANIFESTS or not DIGEST.fullmatch(digest):
                digest = digest_of(response.content)
        _verify(hashlib.new(digest.partition(":")[0], response.content), digest, self.host)
        return ImageManifest(response.content, media_type, digest)

    def head_manifest(self, repository: str, reference: str) -> str | None:
        """The digest of a manifest or index by its tag or digest; None if there is none."""
        request = _manifest_request("HEAD", "look for", repository, reference)
        response = self._transport.send(replace(request, allow_missing=True))
        if response.status == 404:
            return None
        digest = response.headers.get("docker-content-digest", "")
        return digest if DIGEST.fullmatch(digest) else self.manifest(repository, reference).digest

    def put_manifest(self, repository: str, reference: str, content: bytes, media_type: str) -> str:
        """Stores a manifest or index under a tag or its digest; returns the digest.

        All blobs and manifests that it refers to must be in the repository.
        """
        request = _manifest_request("PUT", "write", repository, reference)
        response = self._transport.send(
            replace(
                request,
                scopes=push_scopes(repository),
                headers={"Content-Type": media_type},
                body=content,
            )
        )
        digest = digest_of(content)
        stored = response.headers.get("docker-content-digest", digest)
        if stored.startswith("sha256:") and stored != digest:
            raise DigestMismatch(
                f"the registry '{self.host}' stored the manifest {digest} as {stored}"
            )
        return digest

    # Blobs

    def pull_blob(
        self, repository: str, digest: str, start: int = 0
    ) -> Generator[bytes, None, None]:
        """Yields the content of a blob from byte `start`; resumes after a lost connection.

        Raises NotInRegistry, and DigestMismatch at the end of a blob that was read from byte 0.
        """
        checksum = None if start else hashlib.new(digest.partition(":")[0])
        at, delays = start, self._transport.retry_delays()
        while True:
            try:
                for piece in self._pieces(repository, digest, at):
                    at += len(piece)
                    delays = self._transport.retry_delays()
                    if checksum is not None:
                        checksum.update(piece)
                    yield piece
            except NoResponse as lost:
                self._transport.wait_or_raise(delays, no_response_error(self.host, lost))
            else:
                if checksum is not None:
                    _verify(checksum, digest, self.host)
                return

    def push_blob(
        self, repository: str, digest: str, size: int, source: BlobReader, *, mount_from: str = ""
    ) -> BlobTransfer:
        """Uploads a blob of `size` bytes into a repository, unless it is there.

        `mount_from`: a repository of this registry that has the blob. `source` may be called
        several times. Raises DigestMismatch if its content does not have the digest.
        """
        upload = BlobUpload(self._transport, repository, digest, size, source)
        if upload.exists():
            return BlobTransfer.EXISTING
        if mount_from and upload.mount(mount_from):
            return BlobTransfer.MOUNTED
        upload.run()
        return BlobTransfer.UPLOADED

    def check_push(self, repository: str) -> None:
        """Raises Denied if these credentials may not push to a repository.

        An upload is started and cancelled at once, which leaves nothing in the repository: a token
        server may grant a scope that the registry does not accept, so only the registry knows.
        """
        request = RegistryRequest(
            "POST",
            f"/v2/{repository}/blobs/uploads/",
            f"push to '{repository}'",
            push_scopes(repository),
        )
        started = self._transport.send(request)
        location = started.headers.get("location")
        if location:
            # An upload that is not cancelled expires by itself; some registries allow only that.
            with suppress(RegistryError):
                self._transport.send(
                    replace(request, method="DELETE", target=location, repeatable=False)
                )

    def _pieces(self, repository: str, digest: str, start: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        action = f"read the blob {digest} of '{repository}'"
        path = f"/v2/{repository}/blobs/{digest}"
        request = RegistryRequest("GET", path, action, _pull_scope(repository), headers)
        with self._transport.open(request) as response:
            skip = start if response.status_code != 206 else 0
            with self._transport.translate_errors():
                for piece in response.iter_raw(_PIECE):
                    self._transport.cancellation.raise_if_cancelled()
                    yield piece[skip:]
                    skip = max(0, skip - len(piece))


def _pull_scope(repository: str) -> tuple[str, ...]:
    return (f"repository:{repository}:pull",)


def _manifest_request(method: str, verb: str, repository: str, reference: str) -> RegistryRequest:
    """A request for a manifest; `verb` is what it does, for messages."""
    separator = "@" if ":" in reference else ":"
    return RegistryRequest(
        method,
        f"/v2/{repository}/manifests/{reference}",
        f"{verb} '{repository}{separator}{reference}'",
        _pull_scope(repository),
        _ACCEPT,
    )


def _verify(checksum: _Hash, digest: str, host: str) -> None:
    if checksum.hexdigest() != digest.partition(":")[2]:
        raise DigestMismatch(
            f"the content that the registry '{host}' returned for {digest} has the digest"
            f" {checksum.name}:{checksum.hexdigest()}",
            help="Try again; if it persists, the registry or a proxy in front of it is broken.",
        )
