from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.client import RegistryClient
from deployctl.core.retry import Backoff
from tests.support.blobs import MIB, Blob, Opened
from tests.support.proxy import Proxy
from tests.support.registry import LocalRegistry, TokenGate

QUICK = Backoff(tries=4, first=0.01)


@pytest.fixture
def opened() -> Iterator[Opened]:
    """`opened(host, login)` gives a client that is closed at the end and waits only shortly."""
    with ExitStack() as stack:

        def make(host: str, login: Credentials | None = None, **settings: Any) -> RegistryClient:
            made = RegistryClient(host, login, backoff=QUICK, **settings)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def proxied(registry: LocalRegistry) -> Iterator[Proxy]:
    with Proxy(registry.url) as made:
        yield made


@pytest.fixture
def gate(registry: LocalRegistry) -> Iterator[TokenGate]:
    with TokenGate(registry) as made:
        yield made


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository of the test's own."""
    return f"tests/{zlib.crc32(request.node.name.encode()):x}"


@pytest.fixture
def blob(tmp_path: Path) -> Blob:
    """Three mebibytes and a bit."""
    return Blob(tmp_path / "blob", 3 * MIB + 17)
