"""Resumed uploads, with a fake: Debian's registry drops an upload after a lost connection."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

import pytest

from deployctl.clients.registry.client import BlobTransfer, RegistryClient, digest_of, file_reader
from deployctl.clients.registry.errors import DigestMismatch
from deployctl.core.retry import Backoff

MIB = 1 << 20
DATA = Random(0).randbytes(10 * MIB)


class FakeRegistry(ThreadingHTTPServer):
    """A registry with one blob that closes the connection during the first request with content."""

    def __init__(self, reports: str | None = None, *, least: int = 0, smallest: int = 0) -> None:
        """`reports`: the range that it reports, if that is wrong; `least`: the minimum size of a
        chunk that it reports; `smallest`: the minimum that it accepts."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"127.0.0.1:{self.server_port}"
        self.reports, self.least, self.smallest = reports, least, smallest
        self.stored, self.done, self.breaks = bytearray(), b"", True
        self.ranges: list[str] = []

    def handle_error(self, *_: object) -> None:
        """Ignores errors: lost connections are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeRegistry

    def do_HEAD(self) -> None:
        self._answer(200 if self.server.done else 404)

    def do_POST(self) -> None:
        self.server.stored.clear()
        self._answer(202)

    def do_GET(self) -> None:
        if not self.path.startswith("/v2/a/"):
            return self._answer(200)
        has = self.server.reports or f"0-{len(self.server.stored) - 1}"
        return self._answer(204, Range=has) if has != "404" else self._answer(404)

    def do_PATCH(self) -> None:
        self.server.ranges.append(self.headers["Content-Range"])
        size = int(self.headers["Content-Length"])
        self.server.stored += self._read(size)
        taken = size >= self.server.smallest or len(self.server.stored) == len(DATA)
        self._answer(202 if taken else 400)

    def do_PUT(self) -> None:
        size = int(self.headers["Content-Length"])
        if self.server.breaks:
            self.server.breaks = False
            self.server.stored += self._read(3 * MIB)
            self.close_connection = True
            return
        self.server.stored += self._read(size)
        self.server.done = bytes(self.server.stored)
        right = self.path.endswith(hashlib.sha256(self.server.done).hexdigest())
        self.server.done = self.server.done if right else b""
        self._answer(201) if right else self._answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')

    def _read(self, size: int) -> bytes:
        return self.rfile.read(size)

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        headers["Location"] = "/v2/a/blobs/uploads/1?state=x"
        headers["OCI-Chunk-Min-Length"] = str(self.server.least)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def fake(request: pytest.FixtureRequest) -> Iterator[FakeRegistry]:
    with FakeRegistry(**request.param) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def push(fake: FakeRegistry, tmp_path: Path, digest: str = digest_of(DATA)) -> BlobTransfer:
    path = tmp_path / "blob"
    path.write_bytes(DATA)
    client = RegistryClient(fake.host, backoff=Backoff(tries=4, first=0.01))
    try:
        return client.push_blob("a", digest, len(DATA), file_reader(path))
    finally:
        client.close()


ON = ["3145728-7340031", "7340032-10485759"]
ANEW = ["0-4194303", "4194304-8388607", "8388608-10485759"]


@pytest.mark.parametrize(
    ("fake", "expected"),
    [
        pytest.param({}, ON, id="it knows what it has"),
        pytest.param({"least": 5 * MIB}, ["3145728-8388607", "8388608-10485759"], id="at least"),
        pytest.param(
            {"reports": "0-0", "smallest": 5 * MIB},
            ["0-4194303", "0-8388607", "8388608-10485759"],
            id="it takes no small chunks",
        ),
        pytest.param({"reports": "bytes=0-3145727"}, ON, id="it reports it as HTTP does"),
        pytest.param({"reports": "0-0"}, ANEW, id="it may have nothing"),
        pytest.param({"reports": "0-99999999"}, ANEW, id="it has more than there is"),
        pytest.param({"reports": "nonsense"}, ANEW, id="it reports nothing that can be understood"),
        pytest.param({"reports": "404"}, ANEW, id="it has forgotten the upload"),
        pytest.param(
            {"reports": "0-1048575"},
            ["1048576-5242879", "5242880-9437183", "9437184-10485759", *ANEW],
            id="it is wrong",
        ),
    ],
    indirect=["fake"],
)
def test_resumed_requests_after_a_lost_connection(
    fake: FakeRegistry, tmp_path: Path, expected: list[str]
) -> None:
    assert push(fake, tmp_path) is BlobTransfer.UPLOADED
    assert fake.done == DATA
    assert fake.ranges == expected


@pytest.mark.parametrize("fake", [{"reports": "0-0"}], indirect=True)
def test_content_with_a_wrong_digest_is_not_sent_again(fake: FakeRegistry, tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch):
        push(fake, tmp_path, digest_of(b"other"))
    assert fake.ranges == ANEW
