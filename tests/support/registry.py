"""A local registry for tests: Debian's docker-registry on a free port.

If the program is missing and apt can download its package, the package is unpacked into the cache;
nothing is installed, so it works without root. `TokenProxy` adds token authentication, a plain
`Proxy` breaks requests, and a `BreakingRelay` breaks connections within a request.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from deployctl.clients.registry.client import OCI_MANIFEST, RegistryClient, digest_of
from deployctl.clients.registry.upload import BlobReader
from tests.support.cluster.pki import Pair
from tests.support.debian import find_program
from tests.support.die_with_parent import die_with_parent
from tests.support.exchanges import Exchange, Fault
from tests.support.proxy import Proxy, hang_up

PACKAGE = "docker-registry"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
USER, PASSWORD = "ali", "open sesame"
START_TIMEOUT = 180.0
_HTPASSWD = "ali:$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy"
_LISTENS = re.compile(r"listening on (127\.0\.0\.1:[0-9]+)")
_CONFIGURATION = """\
version: 0.1
log: {{level: info}}
storage:
  filesystem: {{rootdirectory: {folder}/data}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:0
  secret: tests
{tls}
{auth}
"""
_TLS = """\
  tls: {{certificate: {certificate}, key: {key}}}
"""
_BASIC = """\
auth:
  htpasswd: {{realm: tests, path: {folder}/htpasswd}}
"""


class NotStarted(Exception):
    """The registry exited or did not listen in time; the message contains the end of its log."""


def program() -> str | None:
    """Path of the registry program, downloaded if possible; None if it is not available."""
    return find_program(PACKAGE, PACKAGE)


def lacks() -> str:
    """Why this machine cannot run a registry; "" if it can."""
    return "" if program() else f"a registry needs the Debian package {PACKAGE}"


class LocalRegistry:
    """A registry that runs inside the context manager; it is empty at first.

    `basic`: requires the username `USER` and the password `PASSWORD`; `tls`: its certificate.
    """

    def __init__(self, *, basic: bool = False, tls: Pair | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="registry-"))
        auth = _BASIC.format(folder=self.folder) if basic else ""
        pair = _TLS.format(certificate=tls.certificate, key=tls.key) if tls else ""
        text = _CONFIGURATION.format(folder=self.folder, auth=auth, tls=pair)
        (self.folder / "config.yml").write_text(text)
        (self.folder / "htpasswd").write_text(_HTPASSWD)
        self.host = ""

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def __enter__(self) -> Self:
        found = program()
        if found is None:
            raise NotStarted(lacks())
        log = self.folder / "log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                die_with_parent(found, "serve", self.folder / "config.yml"),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not (found_address := _LISTENS.search(log.read_text())):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise NotStarted(log.read_text()[-2000:])
            time.sleep(0.05)
        self.host = found_address[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops the registry and deletes its data."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder)


class TokenProxy(Proxy):
    """A proxy that requires tokens, and is their token server too.

    Anonymous clients get tokens to pull from any repository; `push` requires the credentials.
    """

    def __init__(self, registry: LocalRegistry) -> None:
        self._tokens: dict[str, set[str]] = {}
        self.host = ""
        super().__init__(registry.url)
        self.host = f"127.0.0.1:{self.port}"

    def revoke_tokens(self) -> None:
        """Invalidates all tokens."""
        self._tokens.clear()

    def _due(self, exchange: Exchange) -> list[Fault]:
        faults = super()._due(exchange)
        if any(fault.act != "delay" for fault in faults):
            return faults
        if exchange.path == "/token":
            return [*faults, self._token(exchange)]
        return faults if self._allowed(exchange) else [*faults, self._unauthorized()]

    def _allowed(self, exchange: Exchange) -> bool:
        token = exchange.headers.get("authorization", "").removeprefix("Bearer ")
        named = re.match(r"/v2/(.+)/(?:blobs|manifests|tags)/", exchange.path)
        action = "pull" if exchange.method in ("GET", "HEAD") else "push"
        return named is not None and f"{named[1]}:{action}" in self._tokens.get(token, ())

    @property
    def challenge(self) -> str:
        """`WWW-Authenticate` of a response to a request without a token."""
        return f'Bearer realm="http://{self.host}/token",service="tests"'

    def _unauthorized(self) -> Fault:
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
        return Fault("answer", {}, 401, {"WWW-Authenticate": self.challenge}, body)

    def _token(self, exchange: Exchange) -> Fault:
        if exchange.method == "POST":
            form = parse_qs(str(exchange.body))
            known = form.get("refresh_token") == [PASSWORD]
            scopes = form.get("scope", [""])[0].split()
        else:
            pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            authorization = exchange.headers.get("authorization")
            known = authorization == f"Basic {pair}"
            scopes = parse_qs(exchange.query).get("scope", [])
            if authorization and not known:
                return Fault("answer", {}, 401, {}, {"details": "incorrect username or password"})
        token = secrets.token_hex(16)
        granted = {
            f"{name}:{action}"
            for _, name, actions in (scope.split(":") for scope in scopes)
            for action in actions.split(",")
            if known or action == "pull"
        }
        self._tokens[token] = granted
        return Fault("answer", {}, 200, {}, {"token": token, "expires_in": 300})


class BreakingRelay:
    """A TCP relay to a registry that breaks connections at given offsets; a context manager."""

    def __init__(self, registry: LocalRegistry) -> None:
        self._target = urlsplit(registry.url)
        self._cuts_answers = False
        self.cuts: list[int] = []
        self.received = 0
        """Bytes received from the registry."""

    def cut(self, *after: int) -> None:
        """Breaks the next connections that have sent so many bytes to the registry."""
        self.cuts, self._cuts_answers = list(after), False

    def cut_answer(self, *after: int) -> None:
        """Breaks the next connections that have received so many bytes from the registry."""
        self.cuts, self._cuts_answers = list(after), True

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        hang_up(self._listener)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        relays = []
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                break
            relays.append(threading.Thread(target=self._relay, args=[client], daemon=True))
            relays[-1].start()
        for relay in relays:
            relay.join(5)

    def _relay(self, client: socket.socket) -> None:
        server = socket.create_connection((self._target.hostname, self._target.port))
        back = threading.Thread(target=self._copy, args=[server, client, True])
        back.start()
        self._copy(client, server, False)
        back.join()
        client.close()
        server.close()

    def _copy(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        done = 0
        with suppress(OSError):
            while not self._should_break(done, answers) and (data := source.recv(65536)):
                target.sendall(data)
                done += len(data)
                self.received += len(data) * answers
        hang_up(source)
        hang_up(target)

    def _should_break(self, done: int, answers: bool) -> bool:
        """Whether a connection that has copied so many bytes breaks now."""
        if self.cuts and answers is self._cuts_answers and done >= self.cuts[0]:
            self.cuts.pop(0)
            return True
        return False


def add_image(
    to: RegistryClient,
    repository: str,
    tag: str,
    layers: Sequence[bytes],
    platform: str = "linux/amd64",
) -> str:
    """Pushes an image with arbitrary bytes as layers; returns the digest of its manifest."""
    os_, _, architecture = platform.partition("/")
    config = json.dumps({"os": os_, "architecture": architecture, "rootfs": {}}).encode()
    blobs = [(OCI_CONFIG, config), *((OCI_LAYER, layer) for layer in layers)]
    for _, blob in blobs:
        to.push_blob(repository, digest_of(blob), len(blob), from_bytes(blob))
    descriptor, *layer_descriptors = [
        {"mediaType": kind, "digest": digest_of(blob), "size": len(blob)} for kind, blob in blobs
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor,
        "layers": layer_descriptors,
    }
    return to.put_manifest(repository, tag, json.dumps(manifest).encode(), OCI_MANIFEST)


def from_bytes(data: bytes) -> BlobReader:
    """Reads the content of a blob from memory."""

    def read(start: int) -> Generator[bytes, None, None]:
        yield data[start:]

    return read
