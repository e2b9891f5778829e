"""Failures of registries and of connections to them."""

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
from tests.support.blobs import MIB, Blob, OpenClient, host
from tests.support.proxy import Proxy
from tests.support.registry import BreakingRelay, LocalRegistry, add_image


def test_upload_interrupted_within_a_request(
    registry: LocalRegistry, open_client: OpenClient, name: str, tmp_path: Path
) -> None:
    blob = Blob(tmp_path / "blob", 10 * MIB)
    with BreakingRelay(registry) as relay:
        relay.cut(2 * MIB, 5 * MIB)
        client = open_client(relay.host)
        assert blob.push(client, name) is BlobTransfer.UPLOADED
        assert relay.cuts == []
        client.close()
    assert blob.is_in(open_client(registry.host), name)


def test_upload_resumes_at_the_last_offset(
    proxy: Proxy, open_client: OpenClient, name: str, tmp_path: Path
) -> None:
    blob = Blob(tmp_path / "blob", 10 * MIB)
    proxy.refuse(method="PUT", path="/uploads/")
    proxy.answer(502, method="PATCH")
    client = open_client(host(proxy))
    assert blob.push(client, name) is BlobTransfer.UPLOADED
    assert blob.is_in(client, name)
    sent = [each.headers["content-range"] for each in proxy.seen("PATCH") if each.forwarded]
    assert sent == ["0-4194303", "4194304-8388607", "8388608-10485759"]


def test_only_the_lost_chunk_is_sent_again(
    proxy: Proxy, open_client: OpenClient, name: str, tmp_path: Path
) -> None:
    blob = Blob(tmp_path / "blob", 10 * MIB)
    proxy.answer(413, method="PUT", path="/uploads/")
    client = open_client(host(proxy))
    offsets_to_break = [8 * MIB]

    def source(start: int) -> Any:
        if start in offsets_to_break:
            offsets_to_break.remove(start)
            proxy.refuse(method="PATCH")
        return blob.reader(start)

    client.push_blob(name, blob.digest, blob.size, source)
    assert blob.is_in(client, name)
    sent = [each.headers["content-range"] for each in proxy.seen("PATCH")]
    third = "8388608-10485759"
    assert sent == ["0-4194303", "4194304-8388607", third, third]


def test_upload_with_a_lost_final_response_is_complete(
    proxy: Proxy, open_client: OpenClient, name: str, blob: Blob
) -> None:
    proxy.drop_answer(method="PUT", path="/uploads/")
    client = open_client(host(proxy))
    assert blob.push(client, name) is BlobTransfer.UPLOADED
    assert len(proxy.seen("PUT")) == 1
    assert blob.is_in(client, name)


def test_download_resumes_at_the_last_offset(
    registry: LocalRegistry, open_client: OpenClient, name: str, tmp_path: Path
) -> None:
    blob = Blob(tmp_path / "blob", 10 * MIB)
    blob.push(open_client(registry.host), name)
    with BreakingRelay(registry) as relay:
        relay.cut_answer(2 * MIB, 5 * MIB)
        client = open_client(relay.host)
        assert blob.is_in(client, name)
        assert relay.cuts == []
        assert relay.received < blob.size + 3 * MIB, "almost nothing was received twice"
        client.close()


def test_pulled_content_is_verified(
    proxy: Proxy, open_client: OpenClient, name: str, blob: Blob
) -> None:
    client = open_client(host(proxy))
    blob.push(client, name)
    digest = add_image(client, name, "1", [b"layer"])
    proxy.answer(200, method="GET", path="/blobs/|/manifests/", body="other", times=2)
    with pytest.raises(DigestMismatch, match=f"for {blob.digest} has the digest"):
        blob.is_in(client, name)
    with pytest.raises(DigestMismatch, match=f"for {digest} has the digest"):
        client.manifest(name, digest)
    assert proxy.pending == 0


def test_blob_with_a_wrong_digest_is_rejected(
    registry: LocalRegistry, open_client: OpenClient, name: str, blob: Blob
) -> None:
    other = digest_of(b"other")
    with pytest.raises(DigestMismatch, match="400"):
        open_client(registry.host).push_blob(name, other, blob.size, blob.reader)
    with pytest.raises(DigestMismatch, match="last 1 bytes are missing"):
        open_client(registry.host).push_blob(name, blob.digest, blob.size + 1, blob.reader)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, RateLimited), (503, RegistryFault), (500, RegistryFault), (413, TooLarge)],
)
def test_registry_that_fails_every_time(
    proxy: Proxy,
    open_client: OpenClient,
    name: str,
    blob: Blob,
    status: int,
    expected: type[RegistryError],
) -> None:
    for method in ("PUT", "PATCH"):
        proxy.answer(status, method=method, path="/uploads/", times=None)
    with pytest.raises(expected, match=str(status)):
        blob.push(open_client(host(proxy)), name)


class RecordingToken(CancellationToken):
    """Records waits instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return self.is_cancelled


def test_retry_after_is_honoured(proxy: Proxy, open_client: OpenClient, name: str) -> None:
    token = RecordingToken()
    client = open_client(host(proxy), cancellation=token)
    digest = add_image(client, name, "1", [b"layer"])
    proxy.answer(429, path="/manifests/", headers={"Retry-After": "30"})
    proxy.answer(503, path="/manifests/")
    proxy.refuse(path="/manifests/")
    assert client.head_manifest(name, "1") == digest
    first, *others = token.waits
    assert first == 30.0
    assert [wait < 0.1 for wait in others] == [True, True]


def test_long_retry_after_fails_at_once(proxy: Proxy, open_client: OpenClient, name: str) -> None:
    token = RecordingToken()
    proxy.answer(429, path="/manifests/", headers={"Retry-After": "3600"})
    with pytest.raises(RateLimited):
        open_client(host(proxy), cancellation=token).head_manifest(name, "1")
    assert token.waits == []


def test_missing_image(registry: LocalRegistry, open_client: OpenClient, name: str) -> None:
    client = open_client(registry.host)
    with pytest.raises(NotInRegistry, match=f"read '{name}:1'"):
        client.manifest(name, "1")
    with pytest.raises(NotInRegistry):
        list(client.pull_blob(name, digest_of(b"")))


def test_unreachable_registry(open_client: OpenClient, name: str) -> None:
    with pytest.raises(RegistryUnreachable, match="nothing listens there"):
        open_client("127.0.0.1:1").manifest(name, "1")


def test_upload_is_interrupted_by_cancellation(
    registry: LocalRegistry, open_client: OpenClient, name: str, tmp_path: Path
) -> None:
    blob, cancellation = Blob(tmp_path / "blob", 3 * MIB), CancellationToken()

    def source(start: int) -> Any:
        cancellation.cancel()
        return blob.reader(start)

    client = open_client(registry.host, cancellation=cancellation)
    with pytest.raises(Interrupted):
        client.push_blob(name, blob.digest, blob.size, source)
    with pytest.raises(NotInRegistry):
        blob.is_in(open_client(registry.host), name)
