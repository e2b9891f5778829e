"""Authentication, TLS and proxies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.client import BlobTransfer
from deployctl.clients.registry.errors import (
    Denied,
    RegistryUnreachable,
)
from tests.support.blobs import ALI, Blob, OpenClient, host
from tests.support.cluster.pki import Authority
from tests.support.proxy import Proxy
from tests.support.registry import PASSWORD, USER, LocalRegistry, TokenProxy


def test_basic_authentication(
    closed_registry: LocalRegistry, open_client: OpenClient, name: str, blob: Blob
) -> None:
    client = open_client(closed_registry.host, ALI)
    blob.push(client, name)
    assert blob.is_in(client, name)


@pytest.mark.parametrize("credentials", [None, Credentials(USER, "open says me")])
def test_wrong_password(
    closed_registry: LocalRegistry,
    open_client: OpenClient,
    name: str,
    credentials: Credentials | None,
) -> None:
    with pytest.raises(Denied, match="401") as caught:
        open_client(closed_registry.host, credentials).manifest(name, "1")
    assert "docker login" in (caught.value.help or "")
    assert "says me" not in f"{caught.value.message}{caught.value.help}"


@pytest.mark.parametrize("credentials", [ALI, Credentials(identity_token=PASSWORD)])
def test_token_authentication(
    token_proxy: TokenProxy,
    open_client: OpenClient,
    name: str,
    blob: Blob,
    credentials: Credentials,
) -> None:
    client = open_client(token_proxy.host, credentials)
    blob.push(client, name)
    token_proxy.revoke_tokens()
    assert blob.is_in(client, name), "with a new token"


def test_push_check_cancels_its_upload(
    token_proxy: TokenProxy, open_client: OpenClient, name: str
) -> None:
    open_client(token_proxy.host, ALI).check_push(name)
    uploads = [(each.method, each.status) for each in token_proxy.seen(path="/uploads/")]
    assert uploads[-2:] == [("POST", 202), ("DELETE", 204)]
    with pytest.raises(Denied, match=f"cannot push to '{name}'"):
        open_client(token_proxy.host).check_push(name)


def test_anonymous_client_may_read_but_not_write(
    token_proxy: TokenProxy, open_client: OpenClient, name: str, blob: Blob
) -> None:
    blob.push(open_client(token_proxy.host, ALI), name)
    anonymous = open_client(token_proxy.host)
    assert blob.is_in(anonymous, name)
    with pytest.raises(Denied, match=f"upload the blob .* to '{name}x'"):
        blob.push(anonymous, f"{name}x")


def test_password_rejected_by_the_token_server(
    token_proxy: TokenProxy, open_client: OpenClient, name: str
) -> None:
    with pytest.raises(Denied, match=r"its token server .* 401: incorrect username") as caught:
        open_client(token_proxy.host, Credentials(USER, "open says me")).manifest(name, "1")
    assert f"docker login {token_proxy.host}" in (caught.value.help or "")


def test_token_that_expires_during_an_upload(
    token_proxy: TokenProxy, open_client: OpenClient, name: str, blob: Blob
) -> None:
    headers = {"WWW-Authenticate": token_proxy.challenge}
    token_proxy.answer(401, method="PUT", path="/uploads/", headers=headers)
    client = open_client(token_proxy.host, ALI)
    assert blob.push(client, name) is BlobTransfer.UPLOADED
    assert [each.status for each in token_proxy.seen("PUT")] == [401, 201]
    assert len(token_proxy.seen(path="/token")) == 2


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls_registry(registry: LocalRegistry, authority: Authority) -> Iterator[LocalRegistry]:
    """A registry with TLS and a certificate of `authority`."""
    assert registry.host, "skips if there is no registry"
    with LocalRegistry(tls=authority.issue("registry", "registry", hosts=["127.0.0.1"])) as running:
        yield running


def test_local_registry_with_tls(
    tls_registry: LocalRegistry,
    authority: Authority,
    open_client: OpenClient,
    name: str,
    blob: Blob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.own.certificate))
    client = open_client(tls_registry.host)
    blob.push(client, name)
    assert blob.is_in(client, name)


def test_untrusted_certificate(
    tls_registry: LocalRegistry, open_client: OpenClient, name: str
) -> None:
    with pytest.raises(RegistryUnreachable, match="its certificate is not trusted") as caught:
        open_client(tls_registry.host).manifest(name, "1")
    assert "SSL_CERT_FILE" in (caught.value.help or "")


def test_local_registry_bypasses_the_proxy(
    registry: LocalRegistry, open_client: OpenClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert open_client(registry.host).head_manifest(name, "1") is None


def test_credentials_are_not_sent_to_a_redirect_target(
    token_proxy: TokenProxy, proxy: Proxy, open_client: OpenClient, name: str, blob: Blob
) -> None:
    client = open_client(token_proxy.host, ALI)
    blob.push(client, name)
    storage = f"http://{host(proxy)}/v2/{name}/blobs/{blob.digest}"
    token_proxy.answer(307, method="GET", path="/blobs/", headers={"Location": storage})
    assert blob.is_in(client, name)
    assert "authorization" in token_proxy.seen("GET", "/blobs/")[-1].headers
    (moved,) = proxy.seen("GET")
    assert "authorization" not in moved.headers
