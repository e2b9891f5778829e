from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deployctl.clients.registry.client import OCI_INDEX, OCI_MANIFEST, ImageManifest
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
from deployctl.images.model import BuildSpec
from deployctl.images.platform import Platform
from deployctl.images.reference import ImageReference


@pytest.fixture
def connect_hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Hosts of CONNECT requests to a proxy that rejects all of them."""
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
def test_registry_address_of_an_image(
    connect_hosts: list[str], image: str, named: str, address: str
) -> None:
    registries = Registries(
        CredentialStore({"DOCKER_CONFIG": "/nowhere"}), backoff=Backoff(tries=1)
    )
    with pytest.raises(RegistryUnreachable, match=f"cannot reach the registry '{named}': the pr"):
        registries.head(ImageReference.parse(image))
    registries.close()
    assert set(connect_hosts) == {address or named}


@pytest.mark.parametrize(
    ("image", "error", "expected"),
    [
        ("r.example.com/app", Denied("it answers 401"), ["it answers 401"]),
        ("r.example.com/app", NotInRegistry("it is not there"), []),
        ("r.example.com/app", RegistryUnreachable("it is away"), []),
        ("team/app", Denied("it answers 401"), []),
    ],
)
def test_find_when_the_registry_gives_no_answer(
    monkeypatch: pytest.MonkeyPatch, image: str, error: RegistryError, expected: list[str]
) -> None:
    """Docker Hub denies access to every name that does not exist."""

    def head(*_: object) -> None:
        raise error

    monkeypatch.setattr(Registries, "head", head)
    lines: list[str] = []
    registries = Registries(CredentialStore({}))
    assert registries.find(BuildSpec(image, Path()), "content-1", lines.append) is None
    assert [line.partition(";")[0] for line in lines] == expected


DIGEST = f"sha256:{'0' * 64}"
DESCRIPTOR = {"digest": DIGEST, "size": 1, "mediaType": "a/b"}
CONFIG = {"os": "linux", "architecture": "amd64"}


@pytest.mark.parametrize(
    ("kind", "manifest", "config"),
    [
        (OCI_MANIFEST, "{", {}),
        (OCI_MANIFEST, [], {}),
        (OCI_MANIFEST, {"config": DESCRIPTOR}, {}),
        (OCI_MANIFEST, {"config": DESCRIPTOR, "layers": ["a"]}, CONFIG),
        (OCI_MANIFEST, {"config": DESCRIPTOR, "layers": [{**DESCRIPTOR, "size": "x"}]}, CONFIG),
        (
            OCI_MANIFEST,
            {"config": DESCRIPTOR, "layers": [{**DESCRIPTOR, "digest": "md4:0"}]},
            CONFIG,
        ),
        (OCI_MANIFEST, {"config": DESCRIPTOR, "layers": [{**DESCRIPTOR, "digest": None}]}, CONFIG),
        (OCI_MANIFEST, {"config": {}, "layers": []}, CONFIG),
        (OCI_MANIFEST, {"config": DESCRIPTOR, "layers": []}, []),
        (OCI_MANIFEST, {"config": DESCRIPTOR, "layers": []}, {**CONFIG, "config": ["a"]}),
        (OCI_MANIFEST, {"config": DESCRIPTOR, "layers": []}, {**CONFIG, "rootfs": ["a"]}),
        (OCI_MANIFEST, {"config": DESCRIPTOR, "layers": []}, {**CONFIG, "history": ["a"]}),
        (OCI_INDEX, {"manifests": [{**DESCRIPTOR, "platform": "linux"}]}, CONFIG),
        (OCI_INDEX, {"manifests": {}}, CONFIG),
    ],
)
def test_invalid_manifest_index_or_config_is_not_an_image(
    monkeypatch: pytest.MonkeyPatch, kind: str, manifest: Json, config: Json
) -> None:
    class FakeClient:
        def manifest(self, *_: str) -> ImageManifest:
            text = manifest if isinstance(manifest, str) else json.dumps(manifest)
            return ImageManifest(text.encode(), kind, DIGEST)

        def pull_blob(self, *_: str) -> Iterator[bytes]:
            yield json.dumps(config).encode()

    monkeypatch.setattr(Registries, "client", lambda *_: FakeClient())
    with pytest.raises(RegistryError) as raised:
        Registries(CredentialStore({})).resolve(
            ImageReference.parse("a"), Platform("linux", "amd64")
        )
    assert raised.value.code in ("DC718", "DC719")
