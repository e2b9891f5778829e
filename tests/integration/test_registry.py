"""The registry client against Debian's registry, whole and broken."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

from deployctl.clients.registry import (
    OCI_MANIFEST,
    Pushed,
    Registry,
    digest_of,
    from_file,
)
from deployctl.clients.registry_auth import Login
from deployctl.clients.registry_errors import (
    Denied,
    NotInRegistry,
    RegistryBusy,
    RegistryError,
    RegistryFault,
    RegistryUnreachable,
    TooLarge,
    WrongContent,
)
from deployctl.core.errors import Interrupted
from deployctl.core.retry import Backoff
from deployctl.core.stop import Stop
from tests.support.proxy import Proxy
from tests.support.registry import PASSWORD, USER, Line, LocalRegistry, TokenGate, add_image

MIB = 1 << 20
QUICK = Backoff(tries=4, first=0.01)
ALI = Login(USER, PASSWORD)

Opened = Callable[..., Registry]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """`opened(host, login)` gives a client that is closed at the end and waits only shortly."""
    with ExitStack() as stack:

        def make(host: str, login: Login | None = None, **settings: Any) -> Registry:
            made = Registry(host, login, backoff=QUICK, **settings)
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


def host(proxy: Proxy) -> str:
    return f"127.0.0.1:{proxy.port}"


class Blob:
    """Bytes in a file."""

    def __init__(self, path: Path, size: int, seed: int = 0) -> None:
        self.data = Random(f"{path}{seed}").randbytes(size)
        self.digest, self.size = digest_of(self.data), size
        path.write_bytes(self.data)
        self.source = from_file(path)

    def push(self, to: Registry, name: str, **options: Any) -> Pushed:
        return to.push_blob(name, self.digest, self.size, self.source, **options)

    def is_in(self, registry: Registry, name: str) -> bool:
        return b"".join(registry.pull_blob(name, self.digest)) == self.data


@pytest.fixture
def blob(tmp_path: Path) -> Blob:
    """Three mebibytes and a bit."""
    return Blob(tmp_path / "blob", 3 * MIB + 17)


# Whole


@pytest.mark.parametrize("size", [0, 1, MIB, 5 * MIB + 1])
def test_a_blob_comes_back_as_it_was(
    registry: LocalRegistry, opened: Opened, name: str, tmp_path: Path, size: int
) -> None:
    client, blob = opened(registry.host), Blob(tmp_path / "blob", size)
    assert not client.has_blob(name, blob.digest)
    assert blob.push(client, name) is Pushed.UPLOADED
    assert blob.push(client, name) is Pushed.THERE
    assert blob.is_in(client, name)
    assert b"".join(client.pull_blob(name, blob.digest, size // 2)) == blob.data[size // 2 :]


def test_a_blob_of_another_repository_is_mounted(
    proxied: Proxy, opened: Opened, name: str, blob: Blob
) -> None:
    client = opened(host(proxied))
    blob.push(client, f"{name}/base")
    proxied.clear()
    assert blob.push(client, name, mount_from=f"{name}/base") is Pushed.MOUNTED
    assert [each.method for each in proxied.exchanges] == ["HEAD", "POST"]
    assert blob.is_in(client, name)


def test_a_blob_that_cannot_be_mounted_is_sent(
    proxied: Proxy, opened: Opened, name: str, blob: Blob
) -> None:
    client = opened(host(proxied))
    assert blob.push(client, name, mount_from=f"{name}/base") is Pushed.UPLOADED
    assert [each.method for each in proxied.exchanges[-3:]] == ["HEAD", "POST", "PUT"]
    assert blob.is_in(client, name)


def test_a_manifest_comes_back_as_it_was(
    registry: LocalRegistry, opened: Opened, name: str
) -> None:
    client = opened(registry.host)
    digest = add_image(client, name, "1", [b"layer"])
    found = client.manifest(name, "1")
    assert (found.digest, found.type) == (digest, OCI_MANIFEST)
    assert client.manifest(name, digest) == found
    assert client.head_manifest(name, "1") == client.head_manifest(name, digest) == digest
    assert client.head_manifest(name, "2") is None


def test_all_tags_are_listed(proxied: Proxy, opened: Opened, name: str) -> None:
    client = opened(host(proxied))
    add_image(client, name, "1", [b"layer"])
    more = f'</v2/{name}/tags/list?last=0>; rel="next"'
    proxied.answer(200, path="/tags/", headers={"Link": more}, body={"tags": ["0"]})
    assert client.tags(name) == ["0", "1"]


def test_many_threads_push_at_once(
    gate: TokenGate, opened: Opened, name: str, tmp_path: Path
) -> None:
    client = opened(gate.host, ALI)
    blobs = [Blob(tmp_path / str(seed), 100_000, seed) for seed in range(12)]
    with ThreadPoolExecutor(6) as pool:
        ways = list(pool.map(lambda blob: blob.push(client, name), blobs))
    assert ways == [Pushed.UPLOADED] * 12
    assert all(blob.is_in(client, name) for blob in blobs)
    assert len(gate.seen(path="/token")) == 2, "one to push, one to pull"


# Logins


def test_a_name_and_a_password(
    closed_registry: LocalRegistry, opened: Opened, name: str, blob: Blob
) -> None:
    client = opened(closed_registry.host, ALI)
    blob.push(client, name)
    assert blob.is_in(client, name)


@pytest.mark.parametrize("login", [None, Login(USER, "open says me")])
def test_a_wrong_password(
    closed_registry: LocalRegistry, opened: Opened, name: str, login: Login | None
) -> None:
    with pytest.raises(Denied, match="401") as caught:
        opened(closed_registry.host, login).manifest(name, "1")
    assert "docker login" in (caught.value.help or "")
    assert "says me" not in f"{caught.value.message}{caught.value.help}"


@pytest.mark.parametrize("login", [ALI, Login(identity_token=PASSWORD)])
def test_tokens(gate: TokenGate, opened: Opened, name: str, blob: Blob, login: Login) -> None:
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
        opened(gate.host, Login(USER, "open says me")).manifest(name, "1")
    assert f"docker login {gate.host}" in (caught.value.help or "")


def test_a_token_that_ends_within_an_upload(
    gate: TokenGate, opened: Opened, name: str, blob: Blob
) -> None:
    wanted = {"WWW-Authenticate": gate.challenge}
    gate.answer(401, method="PUT", path="/uploads/", headers=wanted)
    client = opened(gate.host, ALI)
    assert blob.push(client, name) is Pushed.UPLOADED
    assert [each.status for each in gate.seen("PUT")] == [401, 201]
    assert len(gate.seen(path="/token")) == 2


# Broken


def test_an_upload_that_breaks_off_within_a_request(
    registry: LocalRegistry, opened: Opened, name: str, tmp_path: Path
) -> None:
    blob = Blob(tmp_path / "blob", 10 * MIB)
    with Line(registry) as line:
        line.cut(2 * MIB, 5 * MIB)
        client = opened(line.host)
        assert blob.push(client, name) is Pushed.UPLOADED
        assert line.cuts == []
        client.close()
    assert blob.is_in(opened(registry.host), name)


def test_an_upload_goes_on_from_where_it_broke_off(
    proxied: Proxy, opened: Opened, name: str, tmp_path: Path
) -> None:
    blob = Blob(tmp_path / "blob", 10 * MIB)
    proxied.refuse(method="PUT", path="/uploads/")
    proxied.answer(502, method="PATCH")
    client = opened(host(proxied))
    assert blob.push(client, name) is Pushed.UPLOADED
    assert blob.is_in(client, name)
    sent = [each.headers["content-range"] for each in proxied.seen("PATCH") if each.forwarded]
    assert sent == ["0-4194303", "4194304-8388607", "8388608-10485759"]


def test_a_chunk_that_does_not_arrive_is_all_that_is_sent_again(
    proxied: Proxy, opened: Opened, name: str, tmp_path: Path
) -> None:
    blob = Blob(tmp_path / "blob", 10 * MIB)
    proxied.answer(413, method="PUT", path="/uploads/")
    client = opened(host(proxied))
    to_break = [8 * MIB]

    def source(start: int) -> Any:
        if start in to_break:
            to_break.remove(start)
            proxied.refuse(method="PATCH")
        return blob.source(start)

    client.push_blob(name, blob.digest, blob.size, source)
    assert blob.is_in(client, name)
    sent = [each.headers["content-range"] for each in proxied.seen("PATCH")]
    third = "8388608-10485759"
    assert sent == ["0-4194303", "4194304-8388607", third, third]


def test_an_upload_whose_last_answer_is_lost_has_arrived(
    proxied: Proxy, opened: Opened, name: str, blob: Blob
) -> None:
    proxied.drop_answer(method="PUT", path="/uploads/")
    client = opened(host(proxied))
    assert blob.push(client, name) is Pushed.UPLOADED
    assert len(proxied.seen("PUT")) == 1
    assert blob.is_in(client, name)


def test_a_download_goes_on_from_where_it_broke_off(
    registry: LocalRegistry, opened: Opened, name: str, tmp_path: Path
) -> None:
    blob = Blob(tmp_path / "blob", 10 * MIB)
    blob.push(opened(registry.host), name)
    with Line(registry) as line:
        line.cut_answer(2 * MIB, 5 * MIB)
        client = opened(line.host)
        assert blob.is_in(client, name)
        assert line.cuts == []
        assert line.carried < blob.size + 3 * MIB, "hardly anything came twice"
        client.close()


def test_what_is_pulled_is_held_against_its_digest(
    proxied: Proxy, opened: Opened, name: str, blob: Blob
) -> None:
    client = opened(host(proxied))
    blob.push(client, name)
    digest = add_image(client, name, "1", [b"layer"])
    proxied.answer(200, method="GET", path="/blobs/|/manifests/", body="other", times=2)
    with pytest.raises(WrongContent, match=f"for {blob.digest} is something else"):
        blob.is_in(client, name)
    with pytest.raises(WrongContent, match=f"for {digest} is something else"):
        client.manifest(name, digest)
    assert proxied.pending == 0


def test_a_blob_that_is_not_what_its_digest_says_is_refused(
    registry: LocalRegistry, opened: Opened, name: str, blob: Blob
) -> None:
    other = digest_of(b"other")
    with pytest.raises(WrongContent, match="400"):
        opened(registry.host).push_blob(name, other, blob.size, blob.source)
    with pytest.raises(WrongContent, match="1 bytes of it are missing"):
        opened(registry.host).push_blob(name, blob.digest, blob.size + 1, blob.source)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, RegistryBusy), (503, RegistryFault), (500, RegistryFault), (413, TooLarge)],
)
def test_a_registry_that_never_does_it(
    proxied: Proxy,
    opened: Opened,
    name: str,
    blob: Blob,
    status: int,
    expected: type[RegistryError],
) -> None:
    for method in ("PUT", "PATCH"):
        proxied.answer(status, method=method, path="/uploads/", times=None)
    with pytest.raises(expected, match=str(status)):
        blob.push(opened(host(proxied)), name)


def test_a_registry_that_asks_for_patience_gets_it(
    proxied: Proxy, opened: Opened, name: str
) -> None:
    client = opened(host(proxied))
    digest = add_image(client, name, "1", [b"layer"])
    proxied.answer(429, path="/manifests/", headers={"Retry-After": "0"})
    proxied.answer(503, path="/manifests/")
    proxied.refuse(path="/manifests/")
    assert client.head_manifest(name, "1") == digest
    assert proxied.pending == 0


def test_what_is_not_there(registry: LocalRegistry, opened: Opened, name: str) -> None:
    client = opened(registry.host)
    with pytest.raises(NotInRegistry, match=f"read '{name}:1'"):
        client.manifest(name, "1")
    with pytest.raises(NotInRegistry):
        client.tags(name)
    with pytest.raises(NotInRegistry):
        list(client.pull_blob(name, digest_of(b"")))


def test_nobody_is_there(opened: Opened, name: str) -> None:
    with pytest.raises(RegistryUnreachable, match="nothing listens there"):
        opened("127.0.0.1:1").manifest(name, "1")


def test_an_upload_ends_when_it_is_asked_to(
    registry: LocalRegistry, opened: Opened, name: str, tmp_path: Path
) -> None:
    blob, stop = Blob(tmp_path / "blob", 3 * MIB), Stop()

    def source(start: int) -> Any:
        stop.request()
        return blob.source(start)

    client = opened(registry.host, stop=stop)
    with pytest.raises(Interrupted):
        client.push_blob(name, blob.digest, blob.size, source)
    assert not opened(registry.host).has_blob(name, blob.digest)
