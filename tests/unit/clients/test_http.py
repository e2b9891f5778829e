"""The HTTP client, against real sockets."""

from __future__ import annotations

import gc
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from deployctl.clients.http import HttpClient, HttpOptions, NoResponse
from deployctl.core.errors import SettingsError

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\ntrue"


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Listens on a free port and calls `serve` with each connection; yields the address."""
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
    """Reads the whole request: closing a socket with unread data resets the connection."""
    received = b""
    while part := connection.recv(65536):
        received += part
        if received.endswith(b"{}" if received.startswith(b"POST") else b"\r\n\r\n"):
            break
    return received


@contextmanager
def client(
    url: str,
    *,
    timeout: float = 5,
    ca_file: str | None = None,
    verify: bool = True,
    headers: Mapping[str, str] | None = None,
) -> Iterator[HttpClient]:
    http = HttpClient(HttpOptions(url, headers or {}, timeout, ca_file, verify))
    try:
        yield http
    finally:
        http.close()


def failure(url: str, **options: float) -> NoResponse:
    with (
        client(url, timeout=options.get("timeout", 5)) as http,
        pytest.raises(NoResponse) as raised,
    ):
        http.send("POST", "/x", {})
    return raised.value


def test_response() -> None:
    with listening(reply(OK)) as address, client(f"http://{address}") as http:
        response = http.send("GET", "/x")
    assert (response.status, response.body) == (200, True)
    assert response.headers["content-type"] == "application/json"


def test_request_leaves_no_reference_cycles() -> None:
    def count_messages() -> int:
        return sum(type(each) in (httpx.Request, httpx.Response) for each in gc.get_objects())

    with listening(reply(OK)) as address, client(f"http://{address}") as http:
        gc.collect()
        gc.disable()
        try:
            before = count_messages()
            http.send("POST", "/x", {})
            assert count_messages() == before
        finally:
            gc.enable()


def test_html_is_not_json() -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
    with listening(reply(page)) as address, client(f"http://{address}") as http:
        response = http.send("GET", "/x")
    assert (response.is_html, response.body) == (True, None)


def test_refused_connection_was_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = failure(f"http://127.0.0.1:{port}")
    assert error.reason == "nothing listens there (connection refused)"
    assert (error.sent, error.permanent) == (False, False)


def test_unresolvable_name_was_not_sent() -> None:
    error = failure("http://nowhere.invalid")
    assert error.reason.startswith("its name cannot be resolved")
    assert not error.sent


def test_closed_connection_may_have_been_received() -> None:
    with listening(reply(b"")) as address:
        error = failure(f"http://{address}")
    assert error.reason.startswith("the connection broke")
    assert error.sent


def test_timeout_may_have_been_received() -> None:
    def silent(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    with listening(silent) as address:
        error = failure(f"http://{address}", timeout=0.2)
    assert error.reason == "no response within 0.2 s"
    assert error.sent


def test_truncated_response_may_have_been_received() -> None:
    with listening(reply(OK[:-2])) as address:
        assert failure(f"http://{address}").sent


def test_https_to_plain_http_port_is_permanent() -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with listening(plain) as address:
        error = failure(f"https://{address}")
    assert (error.sent, error.permanent) == (False, True)
    assert error.help == "Check whether its address starts with http:// instead of https://."


def test_redirect_to_https_is_reported() -> None:
    moved = b"HTTP/1.1 308 Moved\r\nLocation: https://127.0.0.1:1/api\r\nContent-Length: 0\r\n\r\n"
    with listening(reply(moved)) as address:
        error = failure(f"http://{address}")
    assert error.reason == "it redirects to 'https://127.0.0.1:1/api'"
    assert error.help == "Set PREFECT_API_URL to the address that it redirects to."


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Moved"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_redirect_to_another_origin_is_not_followed(status: str, method: str) -> None:
    received: list[bytes] = []

    def other(connection: socket.socket) -> None:
        received.append(read_request(connection))
        connection.sendall(OK)

    with listening(other) as target:
        moved = f"HTTP/1.1 {status}\r\nLocation: http://{target}/api\r\nContent-Length: 0\r\n\r\n"
        with (
            listening(reply(moved.encode())) as address,
            client(f"http://{address}", headers={"X-Token": "hunter2"}) as http,
            pytest.raises(NoResponse) as raised,
        ):
            http.send(method, "/x", {} if method == "POST" else None)
    assert received == []
    assert raised.value.reason == f"it redirects to 'http://{target}/api'"
    assert raised.value.permanent


@pytest.mark.parametrize("location", ["/other", "http://{address}/other"])
def test_redirect_within_the_origin_is_followed(location: str) -> None:
    requests: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        requests.append(read_request(connection))
        target = location.replace("{address}", address)
        moved = f"HTTP/1.1 307 Moved\r\nLocation: {target}\r\nConnection: close\r\n\r\n"
        connection.sendall(OK if len(requests) > 1 else moved.encode())

    with listening(serve) as address, client(f"http://{address}") as http:
        assert http.send("POST", "/x", {}).body is True
    assert b"POST /other" in requests[1].splitlines()[0]


def test_redirect_that_changes_method_is_refused() -> None:
    responses = iter(
        [
            b"HTTP/1.1 302 Found\r\nLocation: /login\r\nConnection: close\r\n\r\n",
            OK,
        ]
    )
    with listening(lambda connection: reply(next(responses))(connection)) as address:
        error = failure(f"http://{address}")
        assert error.reason == f"it redirects to 'http://{address}/login'"


def test_unusable_proxy_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://me:hunter2@proxy")
    with client("http://prefect.test") as http, pytest.raises(SettingsError) as raised:
        http.send("GET", "/x")
    assert "the proxy from the environment" in raised.value.message
    assert "hunter2" not in raised.value.message


def test_uses_proxy_from_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        requests.append(read_request(connection))
        connection.sendall(OK)

    with listening(proxy) as address:
        monkeypatch.setenv("HTTP_PROXY", f"http://{address}")
        with client("http://prefect.test/api") as http:
            assert http.send("GET", "/x").body is True
    assert requests[0].startswith(b"GET http://prefect.test/api/x HTTP/1.1")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
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


def test_untrusted_certificate_is_permanent(tls_server: str) -> None:
    error = failure(tls_server)
    assert error.reason.startswith("its certificate is not trusted: self")
    assert (error.sent, error.permanent) == (False, True)
    assert error.help is not None
    assert "PREFECT_API_SSL_CERT_FILE" in error.help


def test_trusts_certificate_file(tls_server: str, certificate: tuple[Path, Path]) -> None:
    with client(tls_server, ca_file=str(certificate[0])) as http:
        assert http.send("GET", "/x").body is True


def test_skips_verification_on_request(tls_server: str) -> None:
    with client(tls_server, verify=False) as http:
        assert http.send("GET", "/x").body is True


@pytest.mark.parametrize("text", [None, "not a certificate"])
def test_unusable_certificate_file(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with (
        client("https://prefect.test", ca_file=str(path)) as http,
        pytest.raises(SettingsError, match=r"the certificate file '.*ca.pem' cannot be used"),
    ):
        http.send("GET", "/x")


def test_unusable_certificate_file_from_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with (
        client("https://prefect.test") as http,
        pytest.raises(SettingsError, match=r"the certificate file '.*ca.pem' cannot be used"),
    ):
        http.send("GET", "/x")


def test_imports_httpx_with_first_request() -> None:
    code = (
        "import sys, deployctl.api.session, deployctl.api.driver, deployctl.api.dialect,"
        " deployctl.images.distribution;"
        "sys.exit('httpx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
