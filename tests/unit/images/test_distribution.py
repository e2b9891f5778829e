from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deployctl.clients.registry.client import OCI_INDEX, OCI_MANIFEST, Manifest
from deployctl.clients.registry.errors import (
    Denied,
    NotInRegistry,
    RegistryError,
    RegistryUnreachable,
)
from deployctl.core.json_values import Json
from deployctl.core.retry import Backoff
from deployctl.images.credentials import CredentialStore
from deployctl.images.distribution import Registries
from deployctl.images.platform import Platform
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
    registries = Registries(
        CredentialStore({"DOCKER_CONFIG": "/nowhere"}), backoff=Backoff(tries=1)
    )
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
    registries = Registries(CredentialStore({}))
    assert registries.find(Reference.parse(image), lines.append) is None
    assert [line.partition(" whether")[0] for line in lines] == told


DIGEST = f"sha256:{'0' * 64}"
PART = {"digest": DIGEST, "size": 1, "mediaType": "a/b"}
CONFIG = {"os": "linux", "architecture": "amd64"}


@pytest.mark.parametrize(
    ("kind", "manifest", "config"),
    [
        (OCI_MANIFEST, "{", {}),
        (OCI_MANIFEST, [], {}),
        (OCI_MANIFEST, {"config": PART}, {}),
        (OCI_MANIFEST, {"config": PART, "layers": ["a"]}, CONFIG),
        (OCI_MANIFEST, {"config": PART, "layers": [{**PART, "size": "x"}]}, CONFIG),
        (OCI_MANIFEST, {"config": PART, "layers": [{**PART, "digest": "md4:0"}]}, CONFIG),
        (OCI_MANIFEST, {"config": PART, "layers": [{**PART, "digest": None}]}, CONFIG),
        (OCI_MANIFEST, {"config": {}, "layers": []}, CONFIG),
        (OCI_MANIFEST, {"config": PART, "layers": []}, []),
        (OCI_MANIFEST, {"config": PART, "layers": []}, {**CONFIG, "config": ["a"]}),
        (OCI_MANIFEST, {"config": PART, "layers": []}, {**CONFIG, "rootfs": ["a"]}),
        (OCI_MANIFEST, {"config": PART, "layers": []}, {**CONFIG, "history": ["a"]}),
        (OCI_INDEX, {"manifests": [{**PART, "platform": "linux"}]}, CONFIG),
        (OCI_INDEX, {"manifests": {}}, CONFIG),
    ],
)
def test_what_is_no_image_is_told_whatever_it_is(
    monkeypatch: pytest.MonkeyPatch, kind: str, manifest: Json, config: Json
) -> None:
    class Holds:
        def manifest(self, *_: str) -> Manifest:
            text = manifest if isinstance(manifest, str) else json.dumps(manifest)
            return Manifest(text.encode(), kind, DIGEST)

        def pull_blob(self, *_: str) -> Iterator[bytes]:
            yield json.dumps(config).encode()

    monkeypatch.setattr(Registries, "at", lambda *_: Holds())
    with pytest.raises(RegistryError) as raised:
        Registries(CredentialStore({})).resolve(Reference.parse("a"), Platform("linux", "amd64"))
    assert raised.value.code in ("DC718", "DC719")
