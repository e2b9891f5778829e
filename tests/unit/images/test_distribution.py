from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deployctl.clients.registry_errors import (
    Denied,
    NotInRegistry,
    RegistryError,
    RegistryUnreachable,
)
from deployctl.core.retry import Backoff
from deployctl.images.credentials import Logins
from deployctl.images.distribution import Registries
from deployctl.images.reference import Reference


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The hosts that a proxy is asked for, which leads nowhere."""
    hosts: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            hosts.append(self.path)
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        yield hosts
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("image", "named", "address"),
    [
        ("python", "docker.io", "registry-1.docker.io:443"),
        ("registry.example.com:5000/app", "registry.example.com:5000", ""),
    ],
)
def test_where_the_registry_of_an_image_is(
    asked: list[str], image: str, named: str, address: str
) -> None:
    registries = Registries(Logins({"DOCKER_CONFIG": "/nowhere"}), backoff=Backoff(tries=1))
    with pytest.raises(RegistryUnreachable, match=f"the registry '{named}' cannot be used: the pr"):
        registries.exists(Reference.parse(image))
    registries.close()
    assert set(asked) == {address or named}


@pytest.mark.parametrize(
    ("image", "error", "told"),
    [
        ("r.example.com/app:1", Denied("it answers 401"), ["it answers 401, so nobody knows"]),
        ("r.example.com/app:1", NotInRegistry("it is not there"), []),
        ("r.example.com/app:1", RegistryUnreachable("it is away"), []),
        ("team/app:1", Denied("it answers 401"), []),
    ],
)
def test_a_registry_that_does_not_say_whether_an_image_is_there(
    monkeypatch: pytest.MonkeyPatch, image: str, error: RegistryError, told: list[str]
) -> None:
    """Docker Hub denies everybody what is not there."""

    def exists(*_: object) -> None:
        raise error

    monkeypatch.setattr(Registries, "exists", exists)
    lines: list[str] = []
    registries = Registries(Logins({}))
    assert registries.find(Reference.parse(image), lines.append) is None
    assert [line.partition(" whether")[0] for line in lines] == told
