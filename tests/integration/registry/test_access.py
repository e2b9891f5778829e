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


def test_a_name_and_a_password(
    closed_registry: LocalRegistry, opened: Opened, name: str, blob: Blob
) -> None:
    client = opened(closed_registry.host, ALI)
    blob.push(client, name)
    assert blob.is_in(client, name)


@pytest.mark.parametrize("login", [None, Credentials(USER, "open says me")])
def test_a_wrong_password(
    closed_registry: LocalRegistry, opened: Opened, name: str, login: Credentials | None
) -> None:
    with pytest.raises(Denied, match="401") as caught:
        opened(closed_registry.host, login).manifest(name, "1")
    assert "docker login" in (caught.value.help or "")
    assert "says me" not in f"{caught.value.message}{caught.value.help}"


@pytest.mark.parametrize("login", [ALI, Credentials(identity_token=PASSWORD)])
def test_tokens(gate: TokenGate, opened: Opened, name: str, blob: Blob, login: Credentials) -> None:
    client = opened(gate.host, login)
    blob.push(client, name)
    gate.forget()
    assert blob.is_in(client, name), "with a new token"


def test_anybody_may_read_and_not_write(
    gate: TokenGate, opened: Opened, name: str, blob: Blob
) -> None:
    blob.push(opened(gate.host, ALI), name)
    anybody = opened(gate.host)
    assert blob.is_in(anybody, name)
    with pytest.raises(Denied, match=f"upload the blob .* to '{name}x'"):
        blob.push(anybody, f"{name}x")


def test_a_password_that_the_token_server_does_not_take(
    gate: TokenGate, opened: Opened, name: str
) -> None:
    with pytest.raises(Denied, match=r"its token server .* 401: incorrect username") as caught:
        opened(gate.host, Credentials(USER, "open says me")).manifest(name, "1")
    assert f"docker login {gate.host}" in (caught.value.help or "")


def test_a_token_that_ends_within_an_upload(
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


def test_a_registry_on_this_machine_may_speak_tls(
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


def test_a_certificate_that_is_not_trusted(
    tls_registry: LocalRegistry, opened: Opened, name: str
) -> None:
    with pytest.raises(RegistryUnreachable, match="its certificate is not trusted") as caught:
        opened(tls_registry.host).manifest(name, "1")
    assert "SSL_CERT_FILE" in (caught.value.help or "")


def test_no_proxy_stands_before_this_machine(
    registry: LocalRegistry, opened: Opened, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert opened(registry.host).head_manifest(name, "1") is None


def test_a_login_does_not_follow_a_redirect_to_elsewhere(
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
