from __future__ import annotations

import gc
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from deployctl.clients.http import ConnectionOptions, HttpClient, NoResponse
from deployctl.core.errors import SettingsError

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\ntrue"


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A port on which each connection is handed to `serve`; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        done = threading.Event()

        def accept() -> None:
            while not done.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(5)
                    with suppress(OSError):
                        serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            done.set()
            thread.join()


def reply(text: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(text)

    return serve


def read_request(connection: socket.socket) -> bytes:
    """Reads all of it: who closes with something unread resets the connection."""
    got = b""
    while part := connection.recv(65536):
        got += part
        if got.endswith(b"{}" if got.startswith(b"POST") else b"\r\n\r\n"):
            break
    return got


@contextmanager
def opened(
    url: str, *, timeout: float = 5, ca_file: str | None = None, **more: bool
) -> Iterator[HttpClient]:
    http = HttpClient(ConnectionOptions(url, {}, timeout, ca_file, more.get("verify", True)))
    try:
        yield http
    finally:
        http.close()


def failure(url: str, **options: float) -> NoResponse:
    with (
        opened(url, timeout=options.get("timeout", 5)) as http,
        pytest.raises(NoResponse) as raised,
    ):
        http.send("POST", "/x", {})
    return raised.value


def test_an_answer() -> None:
    with listening(reply(OK)) as address, opened(f"http://{address}") as http:
        answer = http.send("GET", "/x")
    assert (answer.status, answer.body) == (200, True)
    assert answer.headers["content-type"] == "application/json"


def test_an_exchange_leaves_no_garbage() -> None:
    def exchanges() -> int:
        return sum(type(each) in (httpx.Request, httpx.Response) for each in gc.get_objects())

    with listening(reply(OK)) as address, opened(f"http://{address}") as http:
        gc.collect()
        gc.disable()
        try:
            before = exchanges()
            http.send("POST", "/x", {})
            assert exchanges() == before
        finally:
            gc.enable()


def test_a_page_is_no_json() -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
    with listening(reply(page)) as address, opened(f"http://{address}") as http:
        answer = http.send("GET", "/x")
    assert (answer.is_html, answer.body) == (True, None)


def test_refused_was_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    lost = failure(f"http://127.0.0.1:{port}")
    assert lost.reason == "nothing listens there (connection refused)"
    assert (lost.sent, lost.permanent) == (False, False)


def test_an_unknown_name_was_not_sent() -> None:
    lost = failure("http://nowhere.invalid")
    assert lost.reason.startswith("its name cannot be resolved")
    assert not lost.sent


def test_a_server_that_hangs_up_may_have_it() -> None:
    with listening(reply(b"")) as address:
        lost = failure(f"http://{address}")
    assert lost.reason.startswith("the connection broke")
    assert lost.sent


def test_a_server_that_says_nothing_may_have_it() -> None:
    def silent(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    with listening(silent) as address:
        lost = failure(f"http://{address}", timeout=0.2)
    assert lost.reason == "no answer within 0.2 s"
    assert lost.sent


def test_an_answer_that_breaks_off_may_have_been_carried_out() -> None:
    with listening(reply(OK[:-2])) as address:
        assert failure(f"http://{address}").sent


def test_plain_http_at_the_address_of_https_is_hopeless() -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with listening(plain) as address:
        lost = failure(f"https://{address}")
    assert (lost.sent, lost.permanent) == (False, True)
    assert lost.help == "Is it an http:// address and not an https:// one?"


def test_a_redirect_to_https_says_where_to_go() -> None:
    moved = b"HTTP/1.1 308 Moved\r\nLocation: https://127.0.0.1:1/api\r\nContent-Length: 0\r\n\r\n"
    with listening(reply(moved)) as address:
        lost = failure(f"http://{address}")
    assert lost.reason == "it redirects to 'https://127.0.0.1:1/api'"
    assert lost.help == "Set PREFECT_API_URL to the address that it redirects to."


def test_a_redirect_that_turns_a_write_into_a_read_is_refused() -> None:
    answers = iter(
        [
            b"HTTP/1.1 302 Found\r\nLocation: /login\r\nConnection: close\r\n\r\n",
            OK,
        ]
    )
    with listening(lambda connection: reply(next(answers))(connection)) as address:
        lost = failure(f"http://{address}")
        assert lost.reason == f"it redirects to 'http://{address}/login'"


def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://me:hunter2@proxy")
    with opened("http://prefect.test") as http, pytest.raises(SettingsError) as raised:
        http.send("GET", "/x")
    assert "the proxy that the environment names" in raised.value.message
    assert "hunter2" not in raised.value.message


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        asked.append(read_request(connection))
        connection.sendall(OK)

    with listening(proxy) as address:
        monkeypatch.setenv("HTTP_PROXY", f"http://{address}")
        with opened("http://prefect.test/api") as http:
            assert http.send("GET", "/x").body is True
    assert asked[0].startswith(b"GET http://prefect.test/api/x HTTP/1.1")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody trusts, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            key,
            "-out",
            cert,
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


@pytest.fixture
def tls_server(certificate: tuple[Path, Path]) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            reply(OK)(secured)

    with listening(serve) as address:
        yield f"https://{address}"


def test_a_certificate_that_is_not_trusted_is_hopeless(tls_server: str) -> None:
    lost = failure(tls_server)
    assert lost.reason.startswith("its certificate is not trusted: self")
    assert (lost.sent, lost.permanent) == (False, True)
    assert lost.help is not None
    assert "PREFECT_API_SSL_CERT_FILE" in lost.help


def test_a_certificate_file_is_trusted(tls_server: str, certificate: tuple[Path, Path]) -> None:
    with opened(tls_server, ca_file=str(certificate[0])) as http:
        assert http.send("GET", "/x").body is True


def test_certificates_are_not_looked_at_where_the_user_says_so(tls_server: str) -> None:
    with opened(tls_server, verify=False) as http:
        assert http.send("GET", "/x").body is True


@pytest.mark.parametrize("text", [None, "not a certificate"])
def test_a_certificate_file_that_cannot_be_used(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with (
        opened("https://prefect.test", ca_file=str(path)) as http,
        pytest.raises(SettingsError, match=r"the certificate file '.*ca.pem' cannot be used"),
    ):
        http.send("GET", "/x")


def test_a_certificate_file_of_the_environment_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with (
        opened("https://prefect.test") as http,
        pytest.raises(SettingsError, match=r"the certificate file '.*ca.pem' cannot be used"),
    ):
        http.send("GET", "/x")


def test_httpx_is_loaded_by_the_first_request_only() -> None:
    code = (
        "import sys, deployctl.api.session, deployctl.api.driver, deployctl.api.dialect,"
        " deployctl.images.distribution;"
        "sys.exit('httpx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
