"""To whom requests go, and what goes with them; where redirects and Locations lead elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from deployctl.clients.registry import transport
from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.errors import Denied, RegistryUnreachable
from deployctl.clients.registry.transport import Request, Transport
from deployctl.core.cancellation import CancellationToken
from deployctl.core.retry import Backoff

HOST = "r.example.com"
STORAGE = "https://blobs.example.com/1"
WANTED = {"WWW-Authenticate": 'Bearer realm="https://evil.example.com/token"'}
READ, SEND = Request("GET", "/v2/x", "read x"), Request("PUT", "/v2/x", "write x", body=b"x")

Answers = dict[str, Callable[[httpx.Request], httpx.Response]]


def answer(status: int, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, headers=headers)


class Net:
    """Answers by URL, and what was asked for with which `Authorization`."""

    def __init__(self) -> None:
        self.answers: Answers = {}
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((str(request.url), request.headers.get("Authorization")))
        return self.answers[str(request.url).partition("?")[0]](request)

    def wire(self, address: str = HOST) -> Transport:
        login = Credentials("ali", "sesame")
        return Transport(HOST, address, login, CancellationToken(), Backoff(tries=1))


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Iterator[Net]:
    """All that there is."""
    made = Net()
    client = httpx.Client(transport=httpx.MockTransport(made))
    monkeypatch.setattr(transport, "open_client", lambda *_: client)
    yield made
    client.close()


def wants_basic(request: httpx.Request) -> httpx.Response:
    status = 200 if "Authorization" in request.headers else 401
    return httpx.Response(status, headers={"WWW-Authenticate": "Basic"})


@pytest.mark.parametrize("address", [HOST, f"{HOST}:443"])
@pytest.mark.parametrize("named", [f"https://{HOST}", f"https://{HOST}:443", f"http://{HOST}", ""])
def test_the_registry_is_itself_with_and_without_its_port(
    net: Net, address: str, named: str
) -> None:
    net.answers[f"https://{HOST}/v2/x"] = wants_basic
    reply = net.wire(address).ask(Request("GET", f"{named}/v2/x", "read x"))
    assert reply.status == 200


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("headers", [{"Location": STORAGE}, {}])
def test_a_redirect_of_what_is_sent_is_no_success(
    net: Net, status: int, headers: dict[str, str]
) -> None:
    net.answers[f"https://{HOST}/v2/x"] = answer(status, **headers)
    target = headers.get("Location", "")
    with pytest.raises(RegistryUnreachable, match=f"it redirects to '{target}'"):
        net.wire().ask(SEND)


def test_storage_elsewhere_does_not_say_who_gets_the_login(net: Net) -> None:
    net.answers |= {
        f"https://{HOST}/v2/x": answer(307, Location=STORAGE),
        STORAGE: answer(401, **WANTED),
        "https://evil.example.com/token": lambda _: httpx.Response(200, json={"token": "t"}),
    }
    with pytest.raises(Denied, match=r"'blobs\.example\.com' behind it answers 401"):
        net.wire().ask(READ)
    assert net.asked == [(f"https://{HOST}/v2/x", None), (STORAGE, None)]


def test_storage_that_does_not_answer_is_named(net: Net) -> None:
    def refuse(request: httpx.Request) -> Any:
        raise httpx.ConnectError("x", request=request)

    net.answers |= {f"https://{HOST}/v2/x": answer(307, Location=STORAGE), STORAGE: refuse}
    with pytest.raises(RegistryUnreachable, match=r"'blobs\.example\.com' behind it: no"):
        net.wire().ask(READ)
