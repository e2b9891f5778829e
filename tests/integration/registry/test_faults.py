"""A registry that fails, refuses, or is cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployctl.clients.registry.client import BlobTransfer, digest_of
from deployctl.clients.registry.errors import (
    DigestMismatch,
    NotInRegistry,
    RateLimited,
    RegistryError,
    RegistryFault,
    RegistryUnreachable,
    TooLarge,
)
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import Interrupted
from tests.support.blobs import MIB, Blob, Opened, host
from tests.support.proxy import Proxy
from tests.support.registry import Line, LocalRegistry, add_image


def test_upload_interrupted_within_a_request(
    registry: LocalRegistry, opened: Opened, name: str, tmp_path: Path
) -> None:
    blob = Blob(tmp_path / "blob", 10 * MIB)
    with Line(registry) as line:
        line.cut(2 * MIB, 5 * MIB)
        client = opened(line.host)
        assert blob.push(client, name) is BlobTransfer.UPLOADED
        assert line.cuts == []
        client.close()
    assert blob.is_in(opened(registry.host), name)


def test_upload_resumes_at_the_last_offset(
    proxied: Proxy, opened: Opened, name: str, tmp_path: Path
) -> None:
    blob = Blob(tmp_path / "blob", 10 * MIB)
    proxied.refuse(method="PUT", path="/uploads/")
    proxied.answer(502, method="PATCH")
    client = opened(host(proxied))
    assert blob.push(client, name) is BlobTransfer.UPLOADED
    assert blob.is_in(client, name)
    sent = [each.headers["content-range"] for each in proxied.seen("PATCH") if each.forwarded]
    assert sent == ["0-4194303", "4194304-8388607", "8388608-10485759"]


def test_only_the_lost_chunk_is_sent_again(
    proxied: Proxy, opened: Opened, name: str, tmp_path: Path
) -> None:
    blob = Blob(tmp_path / "blob", 10 * MIB)
    proxied.answer(413, method="PUT", path="/uploads/")
    client = opened(host(proxied))
    to_break = [8 * MIB]

    def source(start: int) -> Any:
        if start in to_break:
            to_break.remove(start)
            proxied.refuse(method="PATCH")
        return blob.source(start)

    client.push_blob(name, blob.digest, blob.size, source)
    assert blob.is_in(client, name)
    sent = [each.headers["content-range"] for each in proxied.seen("PATCH")]
    third = "8388608-10485759"
    assert sent == ["0-4194303", "4194304-8388607", third, third]


def test_upload_with_a_lost_final_response_is_complete(
    proxied: Proxy, opened: Opened, name: str, blob: Blob
) -> None:
    proxied.drop_answer(method="PUT", path="/uploads/")
    client = opened(host(proxied))
    assert blob.push(client, name) is BlobTransfer.UPLOADED
    assert len(proxied.seen("PUT")) == 1
    assert blob.is_in(client, name)


def test_download_resumes_at_the_last_offset(
    registry: LocalRegistry, opened: Opened, name: str, tmp_path: Path
) -> None:
    blob = Blob(tmp_path / "blob", 10 * MIB)
    blob.push(opened(registry.host), name)
    with Line(registry) as line:
        line.cut_answer(2 * MIB, 5 * MIB)
        client = opened(line.host)
        assert blob.is_in(client, name)
        assert line.cuts == []
        assert line.carried < blob.size + 3 * MIB, "hardly anything came twice"
        client.close()


def test_pulled_content_is_verified(proxied: Proxy, opened: Opened, name: str, blob: Blob) -> None:
    client = opened(host(proxied))
    blob.push(client, name)
    digest = add_image(client, name, "1", [b"layer"])
    proxied.answer(200, method="GET", path="/blobs/|/manifests/", body="other", times=2)
    with pytest.raises(DigestMismatch, match=f"for {blob.digest} is something else"):
        blob.is_in(client, name)
    with pytest.raises(DigestMismatch, match=f"for {digest} is something else"):
        client.manifest(name, digest)
    assert proxied.pending == 0


def test_blob_with_a_wrong_digest_is_rejected(
    registry: LocalRegistry, opened: Opened, name: str, blob: Blob
) -> None:
    other = digest_of(b"other")
    with pytest.raises(DigestMismatch, match="400"):
        opened(registry.host).push_blob(name, other, blob.size, blob.source)
    with pytest.raises(DigestMismatch, match="1 bytes of it are missing"):
        opened(registry.host).push_blob(name, blob.digest, blob.size + 1, blob.source)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, RateLimited), (503, RegistryFault), (500, RegistryFault), (413, TooLarge)],
)
def test_registry_that_fails_every_time(
    proxied: Proxy,
    opened: Opened,
    name: str,
    blob: Blob,
    status: int,
    expected: type[RegistryError],
) -> None:
    for method in ("PUT", "PATCH"):
        proxied.answer(status, method=method, path="/uploads/", times=None)
    with pytest.raises(expected, match=str(status)):
        blob.push(opened(host(proxied)), name)


class Clock(CancellationToken):
    """Notes how long it should wait, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return self.is_cancelled


def test_retry_after_is_honoured(proxied: Proxy, opened: Opened, name: str) -> None:
    clock = Clock()
    client = opened(host(proxied), stop=clock)
    digest = add_image(client, name, "1", [b"layer"])
    proxied.answer(429, path="/manifests/", headers={"Retry-After": "30"})
    proxied.answer(503, path="/manifests/")
    proxied.refuse(path="/manifests/")
    assert client.head_manifest(name, "1") == digest
    first, *others = clock.waits
    assert first == 30.0
    assert [wait < 0.1 for wait in others] == [True, True]


def test_long_retry_after_fails_at_once(proxied: Proxy, opened: Opened, name: str) -> None:
    clock = Clock()
    proxied.answer(429, path="/manifests/", headers={"Retry-After": "3600"})
    with pytest.raises(RateLimited):
        opened(host(proxied), stop=clock).head_manifest(name, "1")
    assert clock.waits == []


def test_missing_image(registry: LocalRegistry, opened: Opened, name: str) -> None:
    client = opened(registry.host)
    with pytest.raises(NotInRegistry, match=f"read '{name}:1'"):
        client.manifest(name, "1")
    with pytest.raises(NotInRegistry):
        list(client.pull_blob(name, digest_of(b"")))


def test_unreachable_registry(opened: Opened, name: str) -> None:
    with pytest.raises(RegistryUnreachable, match="nothing listens there"):
        opened("127.0.0.1:1").manifest(name, "1")


def test_upload_is_interrupted_by_a_stop(
    registry: LocalRegistry, opened: Opened, name: str, tmp_path: Path
) -> None:
    blob, stop = Blob(tmp_path / "blob", 3 * MIB), CancellationToken()

    def source(start: int) -> Any:
        stop.cancel()
        return blob.source(start)

    client = opened(registry.host, stop=stop)
    with pytest.raises(Interrupted):
        client.push_blob(name, blob.digest, blob.size, source)
    with pytest.raises(NotInRegistry):
        blob.is_in(opened(registry.host), name)
