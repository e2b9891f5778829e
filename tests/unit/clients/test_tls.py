"""Certificates that kubectl and curl accept, and that Python 3.13 refuses by default.

On older versions of Python these tests pass with any code; `make test-pythons` runs them on 3.13.
"""

from __future__ import annotations

import datetime
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deployctl.clients.http import HttpClient, HttpOptions
from deployctl.clients.kubeconfig import connect_with_config


@pytest.fixture(scope="module", params=["no key usage", "basic constraints not critical"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """An https server whose authority lacks what RFC 5280 demands; its URL and the authority."""
    folder = tmp_path_factory.mktemp("tls")
    write_certificates(folder, critical=request.param == "no key usage")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"true")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, args=[0.02])
        thread.start()
        yield f"https://127.0.0.1:{listening.server_port}", folder / "ca.pem"
        listening.shutdown()
        thread.join()


def write_certificates(folder: Path, *, critical: bool) -> None:
    """An authority without key usage, in ca.pem, and what it issued for 127.0.0.1."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    authority = (builder("authority", ca_key).add_extension(constraints, critical=critical)).sign(
        ca_key, hashes.SHA256()
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        builder("server", key).add_extension(names, critical=False).sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(private + certificate.public_bytes(pem))


def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


def test_prefect_api(server: tuple[str, Path]) -> None:
    url, authority = server
    http = HttpClient(HttpOptions(url, ca_file=str(authority)))
    assert http.send("GET", "/x").body is True
    http.close()


def test_cluster(server: tuple[str, Path]) -> None:
    url, authority = server
    config = {
        "clusters": [
            {"name": "c", "cluster": {"server": url, "certificate-authority": str(authority)}}
        ],
        "users": [{"name": "u", "user": {"token": "abc"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    kube = connect_with_config(config, None)
    assert kube.request("GET", "/x") is True
    kube.close()
