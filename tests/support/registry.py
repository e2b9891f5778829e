"""A registry of the tests' own: Debian's docker-registry, on a free port of this machine.

Where the program is missing and apt can fetch its package, the package is unpacked into the cache;
nothing is installed, so it works without root. `TokenGate` stands before a registry and wants
tokens; a plain `Proxy` breaks requests, and a `Line` breaks in the middle of them.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.support.cluster.tools import CACHE
from tests.support.exchanges import Exchange, Fault
from tests.support.proxy import Proxy, hang_up

PACKAGE = "docker-registry"
USER, PASSWORD = "ali", "open sesame"
START_SECONDS = 30.0
_HTPASSWD = "ali:$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy"
_LEASH = Path(__file__).with_name("cluster") / "leash.py"
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
{auth}
"""
_BASIC = """\
auth:
  htpasswd: {{realm: tests, path: {folder}/htpasswd}}
"""


class NotStarted(Exception):
    """The registry ended, or did not answer in time; the message holds the end of its log."""


def program() -> str | None:
    """The registry, fetched where that can be; None where it cannot be had."""
    unpacked = CACHE / PACKAGE / "usr" / "bin" / PACKAGE
    found = shutil.which(PACKAGE) or shutil.which(unpacked)
    if found or not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return found
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for command in (["download", PACKAGE], ["update"], ["download", PACKAGE]):
            subprocess.run(["apt-get", "--quiet", *command], cwd=folder, check=False)
            if packages := list(Path(folder).glob("*.deb")):
                subprocess.run(["dpkg-deb", "-x", packages[0], CACHE / PACKAGE], check=False)
                break
    return shutil.which(unpacked)


def lacks() -> str:
    """Why this machine cannot have a registry; "" if it can."""
    return "" if program() else f"a registry needs the Debian package {PACKAGE}"


class LocalRegistry:
    """A context manager; inside it the registry runs, empty at first.

    `basic`: it wants the name `USER` and the password `PASSWORD`.
    """

    def __init__(self, *, basic: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="registry-"))
        auth = _BASIC.format(folder=self.folder) if basic else ""
        text = _CONFIGURATION.format(folder=self.folder, auth=auth)
        (self.folder / "config.yml").write_text(text)
        (self.folder / "htpasswd").write_text(_HTPASSWD)
        self.host = ""

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def __enter__(self) -> Self:
        log = self.folder / "log"
        leashed = [sys.executable, "-IS", _LEASH, str(os.getpid())]
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [*leashed, str(program()), "serve", self.folder / "config.yml"],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not (said := _LISTENS.search(log.read_text())):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise NotStarted(log.read_text()[-2000:])
            time.sleep(0.05)
        self.host = said[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the registry and deletes what it has."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder)


class TokenGate(Proxy):
    """The proxy before a registry: it lets in who has a token, which it gives itself.

    A token is for `pull` of anything to everybody, and for `push` to who logs in.
    """

    def __init__(self, registry: LocalRegistry) -> None:
        self._tokens: dict[str, set[str]] = {}
        self.host = ""
        super().__init__(registry.url)
        self.host = f"127.0.0.1:{self.port}"

    def forget(self) -> None:
        """From now on no token that was given is valid."""
        self._tokens.clear()

    def _due(self, exchange: Exchange) -> list[Fault]:
        faults = super()._due(exchange)
        if any(fault.act != "delay" for fault in faults):
            return faults
        if exchange.path == "/token":
            return [*faults, self._token(exchange)]
        return faults if self._may(exchange) else [*faults, self._challenge()]

    def _may(self, exchange: Exchange) -> bool:
        token = exchange.headers.get("authorization", "").removeprefix("Bearer ")
        named = re.match(r"/v2/(.+)/(?:blobs|manifests|tags)/", exchange.path)
        action = "push" if exchange.writes else "pull"
        return bool(named) and f"{named[1]}:{action}" in self._tokens.get(token, ())

    def _challenge(self) -> Fault:
        wanted = f'Bearer realm="http://{self.host}/token",service="tests"'
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
        return Fault("answer", {}, 401, {"WWW-Authenticate": wanted}, body)

    def _token(self, exchange: Exchange) -> Fault:
        if exchange.method == "POST":
            asked = parse_qs(str(exchange.body))
            known = asked.get("refresh_token") == [PASSWORD]
            scopes = asked.get("scope", [""])[0].split()
        else:
            pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            login = exchange.headers.get("authorization")
            known = login == f"Basic {pair}"
            scopes = parse_qs(exchange.query).get("scope", [])
            if login and not known:
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


class Line:
    """A line to a registry, a context manager, that hangs up when it is told to."""

    def __init__(self, registry: LocalRegistry) -> None:
        self._target = urlsplit(registry.url)
        self._cuts: list[int] = []

    def cut(self, *after: int) -> None:
        """The next connections that carry so many bytes to the registry break there."""
        self._cuts = list(after)

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
        back = threading.Thread(target=_copy, args=[server, client])
        back.start()
        _copy(client, server, self._limit)
        back.join()
        client.close()
        server.close()

    def _limit(self, sent: int) -> bool:
        """Whether a connection that has carried so much breaks now."""
        if self._cuts and sent >= self._cuts[0]:
            self._cuts.pop(0)
            return True
        return False


def _copy(source: socket.socket, target: socket.socket, ends: Any = lambda _: False) -> None:
    sent = 0
    try:
        while not ends(sent) and (data := source.recv(65536)):
            target.sendall(data)
            sent += len(data)
    except OSError:
        pass
    hang_up(source)
    hang_up(target)
