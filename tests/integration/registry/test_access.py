"""Who is let in to a registry, and on which way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.client import BlobTransfer
from deployctl.clients.registry.errors import (
    Denied,
    RegistryUnreachable,
)
from tests.support.blobs import ALI, Blob, Opened, host
from tests.support.cluster.pki import Authority
from tests.support.proxy import Proxy
from tests.support.registry import PASSWORD, USER, LocalRegistry, TokenGate


def test_basic_authentication(
    closed_registry: LocalRegistry, opened: Opened, name: str, blob: Blob
) -> None:
    client = opened(closed_registry.host, ALI)
    blob.push(client, name)
    assert blob.is_in(client, name)


@pytest.mark.parametrize("login", [None, Credentials(USER, "open says me")])
def test_wrong_password(
    closed_registry: LocalRegistry, opened: Opened, name: str, login: Credentials | None
) -> None:
    with pytest.raises(Denied, match="401") as caught:
        opened(closed_registry.host, login).manifest(name, "1")
    assert "docker login" in (caught.value.help or "")
    assert "says me" not in f"{caught.value.message}{caught.value.help}"


@pytest.mark.parametrize("login", [ALI, Credentials(identity_token=PASSWORD)])
def test_token_authentication(
    gate: TokenGate, opened: Opened, name: str, blob: Blob, login: Credentials
) -> None:
    client = opened(gate.host, login)
    blob.push(client, name)
    gate.forget()
    assert blob.is_in(client, name), "with a new token"


def test_anonymous_client_may_read_but_not_write(
    gate: TokenGate, opened: Opened, name: str, blob: Blob
) -> None:
    blob.push(opened(gate.host, ALI), name)
    anybody = opened(gate.host)
    assert blob.is_in(anybody, name)
    with pytest.raises(Denied, match=f"upload the blob .* to '{name}x'"):
        blob.push(anybody, f"{name}x")


def test_password_rejected_by_the_token_server(gate: TokenGate, opened: Opened, name: str) -> None:
    with pytest.raises(Denied, match=r"its token server .* 401: incorrect username") as caught:
        opened(gate.host, Credentials(USER, "open says me")).manifest(name, "1")
    assert f"docker login {gate.host}" in (caught.value.help or "")


def test_token_that_expires_during_an_upload(
    gate: TokenGate, opened: Opened, name: str, blob: Blob
) -> None:
    wanted = {"WWW-Authenticate": gate.challenge}
    gate.answer(401, method="PUT", path="/uploads/", headers=wanted)
    client = opened(gate.host, ALI)
    assert blob.push(client, name) is BlobTransfer.UPLOADED
    assert [each.status for each in gate.seen("PUT")] == [401, 201]
    assert len(gate.seen(path="/token")) == 2


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls_registry(registry: LocalRegistry, authority: Authority) -> Iterator[LocalRegistry]:
    """A registry that speaks TLS, with a certificate of `authority`."""
    assert registry.host, "which has found out that there can be one"
    with LocalRegistry(tls=authority.issue("registry", "registry", hosts=["127.0.0.1"])) as made:
        yield made


def test_local_registry_with_tls(
    tls_registry: LocalRegistry,
    authority: Authority,
    opened: Opened,
    name: str,
    blob: Blob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.own.certificate))
    client = opened(tls_registry.host)
    blob.push(client, name)
    assert blob.is_in(client, name)


def test_untrusted_certificate(tls_registry: LocalRegistry, opened: Opened, name: str) -> None:
    with pytest.raises(RegistryUnreachable, match="its certificate is not trusted") as caught:
        opened(tls_registry.host).manifest(name, "1")
    assert "SSL_CERT_FILE" in (caught.value.help or "")


def test_local_registry_bypasses_the_proxy(
    registry: LocalRegistry, opened: Opened, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert opened(registry.host).head_manifest(name, "1") is None


def test_credentials_are_not_sent_to_a_redirect_target(
    gate: TokenGate, proxied: Proxy, opened: Opened, name: str, blob: Blob
) -> None:
    client = opened(gate.host, ALI)
    blob.push(client, name)
    storage = f"http://{host(proxied)}/v2/{name}/blobs/{blob.digest}"
    gate.answer(307, method="GET", path="/blobs/", headers={"Location": storage})
    assert blob.is_in(client, name)
    assert "authorization" in gate.seen("GET", "/blobs/")[-1].headers
    (moved,) = proxied.seen("GET")
    assert "authorization" not in moved.headers
