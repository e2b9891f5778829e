"""Blobs for tests of registry clients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.client import BlobTransfer, RegistryClient, digest_of, file_reader
from tests.support.proxy import Proxy
from tests.support.registry import PASSWORD, USER

MIB = 1 << 20
ALI = Credentials(USER, PASSWORD)

OpenClient: TypeAlias = Callable[..., RegistryClient]


def host(proxy: Proxy) -> str:
    return f"127.0.0.1:{proxy.port}"


class Blob:
    """Random content in a file."""

    def __init__(self, path: Path, size: int, seed: int = 0) -> None:
        self.data = Random(f"{path}{seed}").randbytes(size)
        self.digest, self.size = digest_of(self.data), size
        path.write_bytes(self.data)
        self.reader = file_reader(path)

    def push(self, to: RegistryClient, name: str, **options: Any) -> BlobTransfer:
        return to.push_blob(name, self.digest, self.size, self.reader, **options)

    def is_in(self, registry: RegistryClient, name: str) -> bool:
        return b"".join(registry.pull_blob(name, self.digest)) == self.data
