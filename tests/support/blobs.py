"""Blobs to push, and clients that push them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

from deployctl.clients.registry.auth import Login
from deployctl.clients.registry.client import Pushed, Registry, digest_of, from_file
from tests.support.proxy import Proxy
from tests.support.registry import PASSWORD, USER

MIB = 1 << 20
ALI = Login(USER, PASSWORD)

Opened: TypeAlias = Callable[..., Registry]


def host(proxy: Proxy) -> str:
    return f"127.0.0.1:{proxy.port}"


class Blob:
    """Bytes in a file."""

    def __init__(self, path: Path, size: int, seed: int = 0) -> None:
        self.data = Random(f"{path}{seed}").randbytes(size)
        self.digest, self.size = digest_of(self.data), size
        path.write_bytes(self.data)
        self.source = from_file(path)

    def push(self, to: Registry, name: str, **options: Any) -> Pushed:
        return to.push_blob(name, self.digest, self.size, self.source, **options)

    def is_in(self, registry: Registry, name: str) -> bool:
        return b"".join(registry.pull_blob(name, self.digest)) == self.data
