"""One blob on its way into a registry.

It is sent in one request, because that is what all registries take: some refuse, or are slow with,
blobs in chunks. Only when that request broke off, or was too large for something on the way, the
rest follows in chunks, from where the registry says that it is. A registry that has lost the
beginning, or does not know how much it has, gets it all again.
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
from deployctl.clients.registry.transport import Reply, Request, Transport

CHUNK = 4 << 20
"""Bytes in a request, after one of all did not arrive: GitHub's registry takes no more. One that
refuses it may want more, as Amazon's does, and gets twice as many the next time."""

_BYTES = {"Content-Type": "application/octet-stream"}
_RANGE = re.compile(r"(?:bytes=)?0-([1-9][0-9]*)")
"""What has arrived. `0-0` is nothing at some registries, and one byte at others."""

_PASSING = (RegistryUnreachable, RegistryFault, RateLimited)

BlobReader = Callable[[int], Generator[bytes, None, None]]
"""Gives the content of a blob from this byte on."""


def push_scopes(repository: str, source: str = "") -> tuple[str, ...]:
    """What a token must allow to push to a repository, and to mount what another one has."""
    mount = (f"repository:{source}:pull",) if source else ()
    return (f"repository:{repository}:pull,push", *mount)


class BlobUpload:
    """Everything that is known of one upload; used by one thread, once."""

    def __init__(
        self, wire: Transport, repository: str, digest: str, size: int, source: BlobReader
    ) -> None:
        self._wire = wire
        self._blobs = f"/v2/{repository}/blobs/"
        self._repository, self._digest = repository, digest
        self._size, self._source = size, source
        self._about = f"upload the blob {digest} to '{repository}'"
        self._location = ""
        """Where the registry wants the next bytes; "" before it said so."""
        self._begun = False
        """The registry may have some of it."""
        self._at = 0
        """How many bytes the registry is known to have."""
        self._chunk = 0
        """Bytes to send in a request; 0: all that there are."""
        self._least = 0
        """Bytes that a chunk must have at least."""

    def arrived(self) -> bool:
        """Whether the blob is in the repository. Raises RegistryError."""
        return self._ask("HEAD", self._blobs + self._digest, missing_ok=True).status != 404

    def mount(self, source: str) -> bool:
        """Has the registry take the blob from another of its repositories; False: it does not.

        Raises RegistryError where it fails altogether.
        """
        query = urlencode({"mount": self._digest, "from": source})
        scopes = push_scopes(self._repository, source)
        try:
            reply = self._ask("POST", f"{self._blobs}uploads/?{query}", scopes=scopes)
        except _PASSING:
            raise
        except RegistryError:  # it may not, has not, or cannot do such things
            return False
        self._follow(reply)
        return reply.status == 201

    def run(self) -> None:
        """Sends the blob. Raises RegistryError, Interrupted."""
        waits, furthest = self._wire.waits(), 0
        while True:
            start = self._start()
            try:
                self._send(start)
                return
            except RegistryError as problem:
                if not self._may_help(problem, resumed=start > 0):
                    raise
                if self._at > furthest:
                    waits, furthest = self._wire.waits(), self._at
                self._wire.pause(waits, problem)
                refused = type(problem) is RegistryError
                self._chunk = max(CHUNK, self._least, self._chunk * (2 if refused else 1))
            if self.arrived():
                return

    def _may_help(self, problem: RegistryError, *, resumed: bool) -> bool:
        """Whether to try again in chunks, and from the beginning where it is no passing trouble."""
        if isinstance(problem, Denied):
            return False
        if not isinstance(problem, _PASSING):
            self._location = ""
        if isinstance(problem, DigestMismatch):
            return resumed
        return not (isinstance(problem, TooLarge) and self._chunk)

    def _start(self) -> int:
        """The byte from which to go on."""
        self._at = self._where() if self._begun and self._location else 0
        if not self._location or (self._begun and not self._at):
            self._follow(self._ask("POST", f"{self._blobs}uploads/"))
        self._begun = True
        return self._at

    def _where(self) -> int:
        """How many bytes have arrived; 0 where that is not to be found out."""
        try:
            reply = self._ask("GET", self._location)
        except _PASSING:
            raise
        except RegistryError:
            return 0
        found = _RANGE.fullmatch(reply.headers.get("range", ""))
        self._follow(reply)
        return int(found[1]) + 1 if found and int(found[1]) < self._size else 0

    def _send(self, start: int) -> None:
        """All in one request, or what is left in chunks and a request that ends it."""
        self._at = start
        if not self._chunk:
            self._finish(0)
            return
        while self._at < self._size:
            end = min(self._at + self._chunk, self._size)
            about = {"Content-Range": f"{self._at}-{end - 1}"}
            self._follow(self._ask("PATCH", self._location, about, body=(self._at, end)))
            self._at = end
        self._finish(self._size)

    def _finish(self, start: int) -> None:
        """Sends what is left, and says that this was all."""
        digest = urlencode({"digest": self._digest})
        target = f"{self._location}{'&' if '?' in self._location else '?'}{digest}"
        self._ask("PUT", target, body=(start, self._size))

    def _ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        *,
        scopes: tuple[str, ...] = (),
        body: tuple[int, int] | None = None,
        missing_ok: bool = False,
    ) -> Reply:
        """One request of this upload; `body` is the range of bytes to send, which is never sent
        twice without asking."""
        request = Request(
            method,
            target,
            self._about,
            scopes or push_scopes(self._repository),
            dict(headers or {}),
            missing_ok=missing_ok,
        )
        if body is not None:
            length = {"Content-Length": str(body[1] - body[0])}
            sent = {**request.headers, **_BYTES, **length}
            request = replace(request, headers=sent, body=lambda: self._bytes(*body), repeat=False)
        return self._wire.ask(request)

    def _follow(self, reply: Reply) -> None:
        """Notes where the registry wants the next bytes, and how many at least."""
        self._location = reply.headers.get("location", self._location)
        least = reply.headers.get("oci-chunk-min-length", "")
        self._least = int(least) if least.isdigit() else self._least

    def _bytes(self, start: int, end: int) -> Iterator[bytes]:
        left = end - start
        if not left:
            return
        with closing(self._source(start)) as pieces:
            for piece in pieces:
                self._wire.stop.raise_if_cancelled()
                yield piece[:left]
                left -= len(piece)
                if left <= 0:
                    return
        raise DigestMismatch(f"cannot {self._about}: {left} bytes of it are missing")
