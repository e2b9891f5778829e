"""How a registry is told who asks: with nothing, a password, or tokens that somebody else gives.

A registry that refuses a request with 401 says in `WWW-Authenticate` what it wants. `Basic` is name
and password. `Bearer` names a token server, which gives a token for a scope (what may be done with
which repository) to whoever has a login there, or to anybody; it is valid for some minutes, and
asked for anew when the registry does not take it any more. Instead of a password the token server
may have given out an identity token. A login never travels unencrypted, but to this machine itself.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from deployctl.clients.registry.errors import Denied, RegistryError
from deployctl.core.redact import register_secrets

CLIENT_ID = "deployctl"

_CHALLENGE = re.compile(
    r'\s*,?\s*(?P<name>[\w-]+)(?:\s*=\s*(?:"(?P<text>(?:[^"\\]|\\.)*)"|(?P<word>[^\s,"]+)))?'
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str | None = field(default=None, repr=False)
    """Given by a token server in place of a password."""

    def __post_init__(self) -> None:
        register_secrets([self.password, self.identity_token, self._pair])

    @property
    def _pair(self) -> str:
        return f"{self.username}:{self.password}" if self.password else ""

    @property
    def basic(self) -> str:
        """The value of an `Authorization` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Challenge:
    """One thing that a registry wants to have."""

    scheme: str
    """In lower case: `basic`, `bearer`."""
    parameters: Mapping[str, str]


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """What `WWW-Authenticate` says, in all its lines; what is none is left out (RFC 9110, 11)."""
    found: list[tuple[str, dict[str, str]]] = []
    for part in (part for header in headers for part in _CHALLENGE.finditer(header)):
        name = part["name"].lower()
        if part["text"] is None and part["word"] is None:
            found.append((name, {}))
        elif found:
            text = part["word"] or re.sub(r"\\(.)", r"\1", part["text"] or "")
            found[-1][1][name] = text
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


Fetch = Callable[[str, str, Mapping[str, str], bytes | None], bytes]
"""Sends a request (method, URL, headers, content) and gives the content of the answer."""


class Authenticator:
    """What one registry wants, and the tokens that it takes; for many threads."""

    def __init__(self, host: str, login: Credentials | None, fetch: Fetch) -> None:
        """`login` None: as anybody."""
        self._host, self._login, self._fetch = host, login, fetch
        self._lock = threading.Lock()
        self._wanted: Challenge | None = None
        self._tokens: dict[tuple[str, ...], str] = {}

    @property
    def user(self) -> str | None:
        """Who is logged in, for messages."""
        return (self._login.username or "an identity token") if self._login else None

    def header(self, scopes: tuple[str, ...]) -> str | None:
        """The `Authorization` for requests of these scopes, as far as it is known what is wanted.

        `scopes` like `repository:team/app:pull,push`. Raises RegistryError.
        """
        with self._lock:
            if self._wanted is None:
                return None
            if self._wanted.scheme == "basic":
                return self._login.basic if self._login else None
            if scopes not in self._tokens:
                self._tokens[scopes] = self._new_token(self._wanted.parameters, scopes)
            return f"Bearer {self._tokens[scopes]}"

    def learn(self, said: Sequence[str], scopes: tuple[str, ...], used: str | None) -> str | None:
        """Another `Authorization`, after a 401 that said this; None if there is no better one.

        `used` is the one that was refused. Raises RegistryError.
        """
        wanted = {each.scheme: each for each in reversed(parse_challenges(said))}
        with self._lock:
            self._wanted = wanted.get("bearer") or wanted.get("basic")
            if used == f"Bearer {self._tokens.get(scopes)}":
                del self._tokens[scopes]
        better = self.header(scopes)
        return better if better != used else None

    def _new_token(self, about: Mapping[str, str], scopes: tuple[str, ...]) -> str:
        realm = about.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme not in ("http", "https"):
            raise Denied(f"the registry '{self._host}' wants a token and does not say where from")
        if self._login and parts.scheme == "http" and not is_loopback(parts.netloc):
            raise Denied(
                f"the registry '{self._host}' wants the login sent unencrypted to '{parts.netloc}'",
                help="its token server has to be reachable by https://",
            )
        service = [("service", about["service"])] if about.get("service") else []
        answer = self._exchange(realm, service, scopes)
        try:
            found = json.loads(answer)
            token = str(found.get("token") or found["access_token"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError(
                f"the token server '{parts.netloc}' of the registry '{self._host}' gives no token"
            ) from error
        register_secrets([token])
        return token

    def _exchange(
        self, realm: str, service: list[tuple[str, str]], scopes: tuple[str, ...]
    ) -> bytes:
        """What the token server answers: by OAuth to an identity token, else by plain GET."""
        login = self._login
        if login and login.identity_token:
            form = [*service, ("scope", " ".join(scopes)), ("client_id", CLIENT_ID)]
            form += [("grant_type", "refresh_token"), ("refresh_token", login.identity_token)]
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._fetch("POST", realm, headers, urlencode(form).encode())
        query = [*service, *(("scope", scope) for scope in scopes)]
        if login:
            query.append(("account", login.username))
        url = realm + ("&" if "?" in realm else "?") + urlencode(query)
        return self._fetch("GET", url, {"Authorization": login.basic} if login else {}, None)
