"""Targets of requests and their credentials; redirects to other hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from deployctl.clients.registry import transport
from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.errors import Denied, RegistryUnreachable
from deployctl.clients.registry.transport import RegistryRequest, Transport
from deployctl.core.cancellation import CancellationToken
from deployctl.core.retry import Backoff

HOST = "r.example.com"
STORAGE = "https://blobs.example.com/1"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="https://evil.example.com/token"'}
READ, SEND = (
    RegistryRequest("GET", "/v2/x", "read x"),
    RegistryRequest("PUT", "/v2/x", "write x", body=b"x"),
)

Responses = dict[str, Callable[[httpx.Request], httpx.Response]]


def respond(status: int, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, headers=headers)


class FakeNetwork:
    """Responses by URL; records each request with its `Authorization`."""

    def __init__(self) -> None:
        self.responses: Responses = {}
        self.requests: list[tuple[str, str | None]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append((str(request.url), request.headers.get("Authorization")))
        return self.responses[str(request.url).partition("?")[0]](request)

    def transport(self, address: str = HOST) -> Transport:
        credentials = Credentials("ali", "sesame")
        return Transport(HOST, address, credentials, CancellationToken(), Backoff(tries=1))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNetwork]:
    """Replaces the network of the transport."""
    fake = FakeNetwork()
    client = httpx.Client(transport=httpx.MockTransport(fake))
    monkeypatch.setattr(transport, "open_client", lambda *_: client)
    yield fake
    client.close()


def require_basic(request: httpx.Request) -> httpx.Response:
    status = 200 if "Authorization" in request.headers else 401
    return httpx.Response(status, headers={"WWW-Authenticate": "Basic"})


@pytest.mark.parametrize("address", [HOST, f"{HOST}:443"])
@pytest.mark.parametrize("named", [f"https://{HOST}", f"https://{HOST}:443", f"http://{HOST}", ""])
def test_default_port_is_the_same_registry(network: FakeNetwork, address: str, named: str) -> None:
    network.responses[f"https://{HOST}/v2/x"] = require_basic
    response = network.transport(address).send(RegistryRequest("GET", f"{named}/v2/x", "read x"))
    assert response.status == 200


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("headers", [{"Location": STORAGE}, {}])
def test_redirected_upload_is_an_error(
    network: FakeNetwork, status: int, headers: dict[str, str]
) -> None:
    network.responses[f"https://{HOST}/v2/x"] = respond(status, **headers)
    target = headers.get("Location", "")
    with pytest.raises(RegistryUnreachable, match=f"it redirects uploads to '{target}'"):
        network.transport().send(SEND)


def test_challenge_of_other_storage_is_ignored(network: FakeNetwork) -> None:
    network.responses |= {
        f"https://{HOST}/v2/x": respond(307, Location=STORAGE),
        STORAGE: respond(401, **CHALLENGE),
        "https://evil.example.com/token": lambda _: httpx.Response(200, json={"token": "t"}),
    }
    with pytest.raises(Denied, match=r"'blobs\.example\.com' behind it answers 401"):
        network.transport().send(READ)
    assert network.requests == [(f"https://{HOST}/v2/x", None), (STORAGE, None)]


def test_unreachable_storage_is_named(network: FakeNetwork) -> None:
    def refuse(request: httpx.Request) -> Any:
        raise httpx.ConnectError("x", request=request)

    network.responses |= {f"https://{HOST}/v2/x": respond(307, Location=STORAGE), STORAGE: refuse}
    with pytest.raises(RegistryUnreachable, match=r"'blobs\.example\.com' behind it: no"):
        network.transport().send(READ)
