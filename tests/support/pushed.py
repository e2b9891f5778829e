"""Pushes images of the cluster rig to a registry, compressed as usual."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from pathlib import Path

from deployctl.clients.registry.client import OCI_MANIFEST, RegistryClient, digest_of, file_reader
from tests.support.cluster.images import Image, Layer
from tests.support.registry import OCI_CONFIG, OCI_LAYER, LocalRegistry, from_bytes

LEVEL = 6
"""Compression level, the default of engines."""


def push(image: Image, to: LocalRegistry, repository: str, tag: str) -> str:
    """Pushes an image; returns its reference."""
    registry = RegistryClient(to.host)
    try:
        config = image.config
        registry.push_blob(repository, digest_of(config), len(config), from_bytes(config))
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _descriptor(OCI_CONFIG, digest_of(config), len(config)),
            "layers": [_layer(each, registry, repository) for each in image.layers],
        }
        registry.put_manifest(repository, tag, json.dumps(manifest).encode(), OCI_MANIFEST)
    finally:
        registry.close()
    return f"{to.host}/{repository}:{tag}"


def _layer(layer: Layer, to: RegistryClient, repository: str) -> dict[str, object]:
    """Pushes a layer; returns its descriptor."""
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder, "layer.tar.gz")
        with layer.path.open("rb") as plain, gzip.open(packed, "wb", LEVEL) as out:
            shutil.copyfileobj(plain, out, 2**20)
        digest, size = digest_of(packed.read_bytes()), packed.stat().st_size
        to.push_blob(repository, digest, size, file_reader(packed))
    return _descriptor(OCI_LAYER, digest, size)


def _descriptor(kind: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest, "size": size}
