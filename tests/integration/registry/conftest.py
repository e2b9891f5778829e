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
from tests.support.blobs import MIB, Blob, OpenClient
from tests.support.proxy import Proxy
from tests.support.registry import LocalRegistry, TokenProxy

FAST_BACKOFF = Backoff(tries=4, first=0.01)


@pytest.fixture
def open_client() -> Iterator[OpenClient]:
    """Opens clients with short retry delays: `open_client(host, credentials)`."""
    with ExitStack() as stack:

        def open_(
            host: str, credentials: Credentials | None = None, **settings: Any
        ) -> RegistryClient:
            client = RegistryClient(host, credentials, backoff=FAST_BACKOFF, **settings)
            stack.callback(client.close)
            return client

        yield open_


@pytest.fixture
def proxy(registry: LocalRegistry) -> Iterator[Proxy]:
    with Proxy(registry.url) as running:
        yield running


@pytest.fixture
def token_proxy(registry: LocalRegistry) -> Iterator[TokenProxy]:
    with TokenProxy(registry) as running:
        yield running


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository for this test only."""
    return f"tests/{zlib.crc32(request.node.name.encode()):x}"


@pytest.fixture
def blob(tmp_path: Path) -> Blob:
    """A blob of a little more than 3 MiB."""
    return Blob(tmp_path / "blob", 3 * MIB + 17)
