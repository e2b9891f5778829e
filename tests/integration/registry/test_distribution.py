"""Resolving, copying and tagging images in a real registry."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.client import (
    DOCKER_INDEX,
    OCI_INDEX,
    OCI_MANIFEST,
    BlobTransfer,
    RegistryClient,
    digest_of,
)
from deployctl.clients.registry.errors import NotInRegistry
from deployctl.images.credentials import CredentialStore
from deployctl.images.distribution import NoSuchPlatform, NotAnImage, Registries
from deployctl.images.platform import Platform
from deployctl.images.reference import ImageReference
from tests.support.registry import PASSWORD, USER, LocalRegistry, add_image

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def registries(closed_registry: LocalRegistry) -> Iterator[Registries]:
    """Registries with the credentials of `closed_registry`."""
    registries = Registries(
        CredentialStore({}, {closed_registry.host: Credentials(USER, PASSWORD)})
    )
    yield registries
    registries.close()


@pytest.fixture
def client(registries: Registries, registry: LocalRegistry) -> RegistryClient:
    return registries.client(registry.host)


@pytest.fixture
def image(registry: LocalRegistry, request: pytest.FixtureRequest) -> ImageReference:
    """A reference to an image that does not exist yet."""
    name = f"tests/{zlib.crc32(request.node.name.encode()):x}"
    return ImageReference.parse(f"{registry.host}/{name}:1")


def add_index(
    client: RegistryClient, image: ImageReference, kind: str = OCI_INDEX
) -> dict[str, str]:
    """Pushes an index of two images and an entry without a platform; returns the digests."""
    digests = {
        platform: add_image(client, image.repository, f"of-{platform[6:]}", [b"x"], platform)
        for platform in ("linux/arm64", "linux/amd64")
    }
    entries = [descriptor(digests["linux/amd64"], "unknown/unknown")]
    entries += [descriptor(digest, platform) for platform, digest in digests.items()]
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
    client.put_manifest(image.repository, "1", json.dumps(index).encode(), kind)
    return digests


def descriptor(digest: str, platform: str) -> Any:
    name, _, architecture = platform.partition("/")
    about = {"os": name, "architecture": architecture}
    return {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1, "platform": about}


def test_image_is_resolved(
    registries: Registries, client: RegistryClient, image: ImageReference
) -> None:
    digest = add_image(client, image.repository, "1", [b"one", b"two"])
    found = registries.resolve(image, AMD64)
    assert (found.digest, found.type) == (digest, OCI_MANIFEST)
    assert [(each.digest, each.size) for each in found.layers] == [
        (digest_of(b"one"), 3),
        (digest_of(b"two"), 3),
    ]
    assert found.config["architecture"] == "amd64"
    assert registries.head(image) == digest


@pytest.mark.parametrize("kind", [OCI_INDEX, DOCKER_INDEX])
def test_index_is_resolved_for_the_platform(
    registries: Registries, client: RegistryClient, image: ImageReference, kind: str
) -> None:
    digests = add_index(client, image, kind)
    for platform, digest in digests.items():
        found = registries.resolve(image, Platform.parse(platform))
        assert (found.digest, str(found.platform)) == (digest, platform)


def test_image_is_resolved_by_digest(
    registries: Registries, client: RegistryClient, image: ImageReference
) -> None:
    digest = add_index(client, image)["linux/arm64"]
    pinned = ImageReference(image.registry, image.repository, "other", digest)
    assert registries.resolve(pinned, ARM64).digest == digest


def test_missing_platform(
    registries: Registries, client: RegistryClient, image: ImageReference
) -> None:
    add_index(client, image)
    with pytest.raises(
        NoSuchPlatform, match=r"for linux/s390x, only for linux/arm64, linux/amd64$"
    ):
        registries.resolve(image, Platform("linux", "s390x"))
    add_image(client, image.repository, "1", [b"x"])
    with pytest.raises(NoSuchPlatform, match=r"for linux/arm64, only for linux/amd64$"):
        registries.resolve(image, ARM64)


def test_missing_image(registries: Registries, image: ImageReference) -> None:
    assert registries.head(image) is None
    with pytest.raises(NotInRegistry):
        registries.resolve(image, AMD64)


@pytest.mark.parametrize("config", [b"no JSON", b"[]"])
def test_content_that_is_not_an_image(
    registries: Registries, client: RegistryClient, image: ImageReference, config: bytes
) -> None:
    about = {"mediaType": "text/plain", "digest": digest_of(config), "size": len(config)}
    client.push_blob(image.repository, digest_of(config), len(config), lambda at: _all(config[at:]))
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": about, "layers": []}
    client.put_manifest(image.repository, "1", json.dumps(manifest).encode(), OCI_MANIFEST)
    with pytest.raises(NotAnImage):
        registries.resolve(image, AMD64)


def _all(data: bytes) -> Any:
    yield data


def test_layer_is_copied_within_a_registry_and_to_another(
    registries: Registries,
    client: RegistryClient,
    image: ImageReference,
    closed_registry: LocalRegistry,
) -> None:
    add_image(client, image.repository, "1", [b"one" * 1000])
    (layer,) = registries.resolve(image, AMD64).layers
    neighbour = ImageReference(image.registry, f"{image.repository}/neighbour")
    far = ImageReference(closed_registry.host, image.repository)
    transfers = [registries.copy(layer, image, target) for target in (neighbour, far, far, image)]
    assert transfers == [
        BlobTransfer.MOUNTED,
        BlobTransfer.UPLOADED,
        BlobTransfer.EXISTING,
        BlobTransfer.EXISTING,
    ]
    copied = registries.client(far.registry).pull_blob(far.repository, layer.digest)
    assert b"".join(copied) == b"one" * 1000


def test_tags_are_moved_to_an_image(
    registries: Registries, client: RegistryClient, image: ImageReference
) -> None:
    digest = add_image(client, image.repository, "1", [b"one"])
    add_image(client, image.repository, "latest", [b"two"])
    assert registries.tag(image, ["latest", "2"]) == digest
    for tag in ("latest", "2"):
        assert client.head_manifest(image.repository, tag) == digest
