"""Registry authentication: anonymous, Basic, or Bearer tokens from a token server.

A registry that answers 401 describes the scheme in `WWW-Authenticate`. `Basic` is username and
password. `Bearer` names a token server, which issues a token for a scope (actions on a repository),
to a user or to anonymous clients; it is valid for some minutes and requested again when the
registry rejects it. A token server may have issued an identity token in place of a password.
Credentials are never sent unencrypted, except to this machine.
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
    """Credentials for a registry."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str | None = field(default=None, repr=False)
    """Issued by a token server in place of a password."""

    def __post_init__(self) -> None:
        register_secrets([self.password, self.identity_token, self._pair])

    @property
    def _pair(self) -> str:
        return f"{self.username}:{self.password}" if self.password else ""

    @property
    def basic(self) -> str:
        """The value of the `Authorization` header for Basic."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Challenge:
    """An authentication challenge of a registry."""

    scheme: str
    """In lower case: `basic`, `bearer`."""
    parameters: Mapping[str, str]


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """Parses `WWW-Authenticate` headers; skips what is not a challenge (RFC 9110, section 11)."""
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
"""Sends a request (method, URL, headers, content) and returns the content of the response."""


class Authenticator:
    """The challenge of one registry, and the tokens for it. Thread-safe."""

    def __init__(self, host: str, credentials: Credentials | None, fetch: Fetch) -> None:
        """`credentials` None is anonymous access."""
        self._host, self._credentials, self._fetch = host, credentials, fetch
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], str] = {}

    @property
    def user(self) -> str | None:
        """The username, for messages."""
        found = self._credentials
        return (found.username or "an identity token") if found else None

    def header(self, scopes: tuple[str, ...]) -> str | None:
        """The `Authorization` header for these scopes; None before the first challenge.

        `scopes` like `repository:team/app:pull,push`. Raises RegistryError.
        """
        with self._lock:
            if self._challenge is None:
                return None
            if self._challenge.scheme == "basic":
                return self._credentials.basic if self._credentials else None
            if scopes not in self._tokens:
                self._tokens[scopes] = self._new_token(self._challenge.parameters, scopes)
            return f"Bearer {self._tokens[scopes]}"

    def respond(
        self, headers: Sequence[str], scopes: tuple[str, ...], used: str | None
    ) -> str | None:
        """Another `Authorization` header after a 401 with these `WWW-Authenticate` headers; None
        if there is no other.

        `used` is the header that was rejected. Raises RegistryError.
        """
        offered = {each.scheme: each for each in reversed(parse_challenges(headers))}
        with self._lock:
            self._challenge = offered.get("bearer") or offered.get("basic")
            if used == f"Bearer {self._tokens.get(scopes)}":
                del self._tokens[scopes]
        other = self.header(scopes)
        return other if other != used else None

    def _new_token(self, parameters: Mapping[str, str], scopes: tuple[str, ...]) -> str:
        realm = parameters.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme not in ("http", "https"):
            raise Denied(f"the registry '{self._host}' requires a token and names no token server")
        if self._credentials and parts.scheme == "http" and not is_loopback(parts.netloc):
            raise Denied(
                f"cannot send the credentials for '{self._host}' unencrypted to '{parts.netloc}'",
                help="Configure an https:// URL for the token server in the registry.",
            )
        service = [("service", parameters["service"])] if parameters.get("service") else []
        answer = self._exchange(realm, service, scopes)
        try:
            found = json.loads(answer)
            token = str(found.get("token") or found["access_token"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError(
                f"the token server '{parts.netloc}' of the registry '{self._host}' sent no token"
            ) from error
        register_secrets([token])
        return token

    def _exchange(
        self, realm: str, service: list[tuple[str, str]], scopes: tuple[str, ...]
    ) -> bytes:
        """Requests a token: by OAuth 2 with an identity token, else by GET."""
        credentials = self._credentials
        if credentials and credentials.identity_token:
            form = [*service, ("scope", " ".join(scopes)), ("client_id", CLIENT_ID)]
            form += [("grant_type", "refresh_token"), ("refresh_token", credentials.identity_token)]
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._fetch("POST", realm, headers, urlencode(form).encode())
        query = [*service, *(("scope", scope) for scope in scopes)]
        if credentials:
            query.append(("account", credentials.username))
        url = realm + ("&" if "?" in realm else "?") + urlencode(query)
        return self._fetch(
            "GET", url, {"Authorization": credentials.basic} if credentials else {}, None
        )
