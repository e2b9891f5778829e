"""Round trips of blobs and manifests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployctl.clients.registry.client import OCI_MANIFEST, BlobTransfer
from tests.support.blobs import ALI, MIB, Blob, OpenClient, host
from tests.support.proxy import Proxy
from tests.support.registry import LocalRegistry, TokenProxy, add_image


@pytest.mark.parametrize("size", [0, 1, MIB, 5 * MIB + 1])
def test_blob_round_trip(
    registry: LocalRegistry, open_client: OpenClient, name: str, tmp_path: Path, size: int
) -> None:
    client, blob = open_client(registry.host), Blob(tmp_path / "blob", size)
    assert blob.push(client, name) is BlobTransfer.UPLOADED
    assert blob.push(client, name) is BlobTransfer.EXISTING
    assert blob.is_in(client, name)
    assert b"".join(client.pull_blob(name, blob.digest, size // 2)) == blob.data[size // 2 :]


def test_blob_of_another_repository_is_mounted(
    proxy: Proxy, open_client: OpenClient, name: str, blob: Blob
) -> None:
    client = open_client(host(proxy))
    blob.push(client, f"{name}/base")
    proxy.clear()
    assert blob.push(client, name, mount_from=f"{name}/base") is BlobTransfer.MOUNTED
    assert [each.method for each in proxy.exchanges] == ["HEAD", "POST"]
    assert blob.is_in(client, name)


@pytest.mark.parametrize("status", [202, 400, 403, 404, 405])
def test_blob_that_cannot_be_mounted_is_uploaded(
    proxy: Proxy, open_client: OpenClient, name: str, blob: Blob, status: int
) -> None:
    client = open_client(host(proxy))
    if status != 202:
        proxy.answer(status, method="POST", path="/uploads/")
    assert blob.push(client, name, mount_from=f"{name}/base") is BlobTransfer.UPLOADED
    posts = ["POST"] if status == 202 else ["POST", "POST"]
    assert [each.method for each in proxy.exchanges[1:]] == ["HEAD", *posts, "PUT"]
    assert blob.is_in(client, name)


def test_manifest_round_trip(registry: LocalRegistry, open_client: OpenClient, name: str) -> None:
    client = open_client(registry.host)
    digest = add_image(client, name, "1", [b"layer"])
    found = client.manifest(name, "1")
    assert (found.digest, found.type) == (digest, OCI_MANIFEST)
    assert client.manifest(name, digest) == found
    assert client.head_manifest(name, "1") == client.head_manifest(name, digest) == digest
    assert client.head_manifest(name, "2") is None


def test_concurrent_pushes(
    token_proxy: TokenProxy, open_client: OpenClient, name: str, tmp_path: Path
) -> None:
    client = open_client(token_proxy.host, ALI)
    blobs = [Blob(tmp_path / str(seed), 100_000, seed) for seed in range(12)]
    with ThreadPoolExecutor(6) as pool:
        transfers = list(pool.map(lambda blob: blob.push(client, name), blobs))
    assert transfers == [BlobTransfer.UPLOADED] * 12
    assert all(blob.is_in(client, name) for blob in blobs)
    assert len(token_proxy.seen(path="/token")) == 2, "one to push, one to pull"
