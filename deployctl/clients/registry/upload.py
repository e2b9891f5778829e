"""Uploads one blob to a registry.

The blob is sent in one request, because all registries support that: some reject chunked uploads,
or are slow with them. Only after that request broke off, or was too large for a proxy, the rest is
sent in chunks, from the offset that the registry reports. A registry that has lost the beginning,
or does not know its offset, gets the whole blob again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from urllib.parse import urlencode

from deployctl.clients.registry.errors import (
    Denied,
    DigestMismatch,
    RateLimited,
    RegistryError,
    RegistryFault,
    RegistryUnreachable,
    TooLarge,
)
from deployctl.clients.registry.transport import RegistryRequest, RegistryResponse, Transport

CHUNK = 4 << 20
"""Bytes per chunk after the single request failed: the maximum of GitHub's registry. A registry
that rejects this may have a higher minimum, as Amazon's does; the size is doubled for it."""

_BYTES = {"Content-Type": "application/octet-stream"}
_RANGE = re.compile(r"(?:bytes=)?0-([1-9][0-9]*)")
"""The received range. `0-0` is nothing for some registries, and one byte for others."""

_TEMPORARY = (RegistryUnreachable, RegistryFault, RateLimited)

BlobReader = Callable[[int], Generator[bytes, None, None]]
"""Yields the content of a blob from a byte offset."""


def push_scopes(repository: str, source: str = "") -> tuple[str, ...]:
    """Token scopes to push to a repository, and to mount blobs from another one."""
    mount = (f"repository:{source}:pull",) if source else ()
    return (f"repository:{repository}:pull,push", *mount)


class BlobUpload:
    """State of one upload; for one thread, used once."""

    def __init__(
        self, transport: Transport, repository: str, digest: str, size: int, source: BlobReader
    ) -> None:
        self._transport = transport
        self._blobs = f"/v2/{repository}/blobs/"
        self._repository, self._digest = repository, digest
        self._size, self._source = size, source
        self._action = f"upload the blob {digest} to '{repository}'"
        self._location = ""
        """URL for the next bytes; "" before the upload is started."""
        self._started = False
        """Whether the registry may have received some bytes."""
        self._offset = 0
        """Number of bytes that the registry is known to have."""
        self._chunk = 0
        """Bytes per request; 0 for all in one."""
        self._min_chunk = 0
        """Minimum size of a chunk that the registry requires."""

    def exists(self) -> bool:
        """Whether the blob is in the repository. Raises RegistryError."""
        return self._request("HEAD", self._blobs + self._digest, allow_missing=True).status != 404

    def mount(self, source: str) -> bool:
        """Mounts the blob from another repository of the registry; False if it does not do that.

        Raises RegistryError for other failures.
        """
        query = urlencode({"mount": self._digest, "from": source})
        scopes = push_scopes(self._repository, source)
        try:
            response = self._request("POST", f"{self._blobs}uploads/?{query}", scopes=scopes)
        except _TEMPORARY:
            raise
        except RegistryError:  # no permission, no such blob, or mounts are not supported
            return False
        self._update(response)
        return response.status == 201

    def run(self) -> None:
        """Uploads the blob. Raises RegistryError, Interrupted."""
        delays, furthest = self._transport.retry_delays(), 0
        while True:
            start = self._start()
            try:
                self._send(start)
                return
            except RegistryError as problem:
                if not self._can_retry(problem, resumed=start > 0):
                    raise
                if self._offset > furthest:
                    delays, furthest = self._transport.retry_delays(), self._offset
                self._transport.wait_or_raise(delays, problem)
                refused = type(problem) is RegistryError
                self._chunk = max(CHUNK, self._min_chunk, self._chunk * (2 if refused else 1))
            if self.exists():
                return

    def _can_retry(self, problem: RegistryError, *, resumed: bool) -> bool:
        """Whether to retry in chunks; after a permanent error, from the beginning."""
        if isinstance(problem, Denied):
            return False
        if not isinstance(problem, _TEMPORARY):
            self._location = ""
        if isinstance(problem, DigestMismatch):
            return resumed
        return not (isinstance(problem, TooLarge) and self._chunk)

    def _start(self) -> int:
        """Starts or resumes the upload; returns the offset to continue from."""
        self._offset = self._received() if self._started and self._location else 0
        if not self._location or (self._started and not self._offset):
            self._update(self._request("POST", f"{self._blobs}uploads/"))
        self._started = True
        return self._offset

    def _received(self) -> int:
        """Number of bytes that the registry has; 0 if it does not say."""
        try:
            response = self._request("GET", self._location)
        except _TEMPORARY:
            raise
        except RegistryError:
            return 0
        found = _RANGE.fullmatch(response.headers.get("range", ""))
        self._update(response)
        return int(found[1]) + 1 if found and int(found[1]) < self._size else 0

    def _send(self, start: int) -> None:
        """Sends everything in one request, or the rest in chunks and a final request."""
        self._offset = start
        if not self._chunk:
            self._finish(0)
            return
        while self._offset < self._size:
            end = min(self._offset + self._chunk, self._size)
            headers = {"Content-Range": f"{self._offset}-{end - 1}"}
            self._update(self._request("PATCH", self._location, headers, body=(self._offset, end)))
            self._offset = end
        self._finish(self._size)

    def _finish(self, start: int) -> None:
        """Sends the rest and completes the upload."""
        digest = urlencode({"digest": self._digest})
        target = f"{self._location}{'&' if '?' in self._location else '?'}{digest}"
        self._request("PUT", target, body=(start, self._size))

    def _request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        *,
        scopes: tuple[str, ...] = (),
        body: tuple[int, int] | None = None,
        allow_missing: bool = False,
    ) -> RegistryResponse:
        """Sends one request of this upload. `body` is the range of bytes to send; such a request
        is never repeated without asking the registry for its offset first."""
        request = RegistryRequest(
            method,
            target,
            self._action,
            scopes or push_scopes(self._repository),
            dict(headers or {}),
            allow_missing=allow_missing,
        )
        if body is not None:
            length = {"Content-Length": str(body[1] - body[0])}
            sent = {**request.headers, **_BYTES, **length}
            request = replace(
                request, headers=sent, body=lambda: self._bytes(*body), repeatable=False
            )
        return self._transport.send(request)

    def _update(self, response: RegistryResponse) -> None:
        """Reads the URL for the next bytes, and the minimum size of a chunk."""
        self._location = response.headers.get("location", self._location)
        minimum = response.headers.get("oci-chunk-min-length", "")
        self._min_chunk = int(minimum) if minimum.isdigit() else self._min_chunk

    def _bytes(self, start: int, end: int) -> Iterator[bytes]:
        remaining = end - start
        if not remaining:
            return
        with closing(self._source(start)) as pieces:
            for piece in pieces:
                self._transport.cancellation.raise_if_cancelled()
                yield piece[:remaining]
                remaining -= len(piece)
                if remaining <= 0:
                    return
        raise DigestMismatch(f"cannot {self._action}: its last {remaining} bytes are missing")
