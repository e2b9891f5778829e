"""Requests to one registry, with authentication and retries.

A request is retried after a lost connection, a 5xx or a 429 (which says how long to wait), unless
it is marked as not repeatable. Redirects of reads are followed to storage on other hosts;
credentials are sent to the registry and its token server only. A registry on this machine may use
plain HTTP, which is tried first there; all others are reached by TLS.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from deployctl import __version__
from deployctl.clients.http import HttpOptions, NoResponse, open_client, translate_error
from deployctl.clients.proxies import proxy_for
from deployctl.clients.registry.auth import CLIENT_ID, Authenticator, Credentials, is_loopback
from deployctl.clients.registry.errors import RegistryError, no_response_error, response_error
from deployctl.core.cancellation import CancellationToken
from deployctl.core.redact import redact
from deployctl.core.retry import Backoff, parse_retry_after

if TYPE_CHECKING:
    import httpx

_RESPONSE_TIMEOUT = 300.0
"""Seconds. A registry is silent while it verifies and moves an upload, which may be gigabytes."""
_MAX_CONNECTIONS = 24
_MAX_REDIRECTS = 5
_MAX_RETRY_AFTER = 60.0
"""Seconds. A registry that asks for a longer wait fails the request at once."""
_NOT_PROCESSED = frozenset({429, 503})
"""Statuses after which any request may be repeated: the registry has not processed it."""
_RETRYABLE = _NOT_PROCESSED | {408, 500, 502, 504}

Body = bytes | Callable[[], Iterable[bytes]]
"""Content, or a function that yields it from the beginning on each call."""


@dataclass(frozen=True, slots=True)
class RegistryRequest:
    """One request to a registry."""

    method: str
    target: str
    """A path from `/v2/`, or a URL that the registry returned."""
    action: str
    """What it does, for messages: `cannot ACTION`."""
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    repeatable: bool = True
    allow_missing: bool = False
    """Whether a 404 is a response rather than an error."""


@dataclass(frozen=True, slots=True)
class RegistryResponse:
    """A complete response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Transport:
    """Sends requests to one registry. Thread-safe; connects on first use."""

    def __init__(
        self,
        host: str,
        address: str,
        credentials: Credentials | None,
        cancellation: CancellationToken,
        backoff: Backoff,
    ) -> None:
        """`host` is the registry's name, `address` the host to connect to."""
        self.host = host
        self._address = address
        self.cancellation = cancellation
        self.backoff = backoff
        self._authenticator = Authenticator(host, credentials, self._fetch_token)
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str | None], httpx.Client] = {}
        """By scheme and proxy: registries redirect downloads to other hosts."""
        self._scheme = "" if is_loopback(address) else "https"

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            while self._clients:
                self._clients.popitem()[1].close()

    def send(self, request: RegistryRequest) -> RegistryResponse:
        """Sends a request and reads the response. Raises RegistryError, Interrupted."""
        delays = self.retry_delays()
        while True:
            try:
                with self.open(request) as response, self.translate_errors():
                    content = response.read()
                headers = {name.lower(): value for name, value in response.headers.items()}
                return RegistryResponse(response.status_code, headers, content)
            except NoResponse as lost:
                self.wait_or_raise(
                    delays, no_response_error(self.host, lost), again=request.repeatable
                )

    @contextmanager
    def open(self, request: RegistryRequest) -> Iterator[httpx.Response]:
        """Sends a request; yields the response with unread content and a status below 400.

        The content is to be read inside `translate_errors`. Raises RegistryError, Interrupted.
        """
        delays = self.retry_delays()
        while True:
            try:
                response = self._authorized(request)
            except NoResponse as lost:
                again = not lost.permanent and (request.repeatable or not lost.sent)
                self.wait_or_raise(delays, no_response_error(self.host, lost), again=again)
                continue
            with closing(response):
                missing = response.status_code == 404 and request.allow_missing
                if response.status_code < 400 or missing:
                    yield response
                    return
                problem = self._refused(request, response)
                retry_after = parse_retry_after(
                    response.headers.get("Retry-After", ""), datetime.now(UTC)
                )
            again = response.status_code in (_RETRYABLE if request.repeatable else _NOT_PROCESSED)
            self.wait_or_raise(delays, problem, again=again, retry_after=retry_after)

    def retry_delays(self) -> Iterator[float]:
        """Delays in seconds before each retry."""
        return self.backoff.waits(random.Random())

    def wait_or_raise(
        self,
        delays: Iterator[float],
        problem: RegistryError,
        *,
        again: bool = True,
        retry_after: float | None = None,
    ) -> None:
        """Waits before the next try; raises the problem if there is none, and Interrupted."""
        retry_after = retry_after or 0.0
        delay = next(delays, None) if again and retry_after <= _MAX_RETRY_AFTER else None
        if delay is None:
            raise problem
        self.cancellation.wait(max(delay, retry_after))
        self.cancellation.raise_if_cancelled()

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Translates errors of httpx to NoResponse."""
        import httpx

        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise translate_error(error, self._connection(f"https://{self._address}")) from error

    def _authorized(self, request: RegistryRequest) -> httpx.Response:
        """The response; after a 401, that of a second try with the requested authentication."""
        used = self._authenticator.header(request.scopes)
        response = self._send(request, used)
        if response.status_code != 401 or self._other_host(str(response.url)):
            return response
        challenge = response.headers.get_list("WWW-Authenticate")
        other = self._authenticator.respond(challenge, request.scopes, used)
        if other is None:
            return response
        response.close()
        return self._send(request, other)

    def _send(self, request: RegistryRequest, authorization: str | None) -> httpx.Response:
        """Sends a request and follows redirects of reads."""
        url = self._url(request.target)
        for _ in range(_MAX_REDIRECTS):
            headers = dict(request.headers)
            other_host = self._other_host(url)
            if authorization and not other_host:
                headers["Authorization"] = authorization
            try:
                response = self._send_one(request.method, url, headers, request.body)
            except NoResponse as lost:
                lost.reason = f"{other_host}: {lost.reason}" if other_host else lost.reason
                raise
            if not response.is_redirect:
                return response
            response.close()
            target = response.headers.get("Location", "")
            if request.method not in ("GET", "HEAD") or not target:
                shown = redact(target.partition("?")[0])
                raise NoResponse(
                    f"it redirects uploads to '{shown}'",
                    sent=False,
                    permanent=True,
                    help="Use the address of the actual registry in the image name.",
                )
            url = self._url(urljoin(url, target))
        raise NoResponse("too many redirects", sent=False, permanent=True)

    def _send_one(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None
    ) -> httpx.Response:
        client = self._client(url)
        with self.translate_errors():
            request = client.build_request(
                method, url, headers=dict(headers), content=body() if callable(body) else body
            )
            return client.send(request, stream=True)

    def _url(self, target: str) -> str:
        """The absolute URL; URLs of the registry itself get the scheme and address in use.

        Registries behind a proxy that terminates TLS often return http:// URLs of themselves.
        """
        url = urljoin(f"{self._detect_scheme()}://{self._address}", target)
        if self._other_host(url):
            return url
        return urlsplit(url)._replace(scheme=self._detect_scheme(), netloc=self._address).geturl()

    def _other_host(self, url: str) -> str:
        """The host of a URL, for messages, if it is not the registry itself; else ""."""
        netloc = urlsplit(url).netloc
        itself = _without_default_port(netloc) == _without_default_port(self._address)
        return "" if itself else f"'{netloc.rpartition('@')[2]}' behind it"

    def _detect_scheme(self) -> str:
        """The scheme of the registry's URLs, probed if it is on this machine. Raises NoResponse."""
        if not self._scheme:
            with closing(self._send_one("GET", f"http://{self._address}/v2/", {}, None)) as probe:
                self._scheme = "https" if probe.status_code == 400 else "http"
        return self._scheme

    def _client(self, url: str) -> httpx.Client:
        key = (urlsplit(url).scheme, proxy_for(url))
        with self._lock:
            if key not in self._clients:
                self._clients[key] = open_client(self._connection(url))
            return self._clients[key]

    def _connection(self, url: str) -> HttpOptions:
        return HttpOptions(
            url,
            # No content encoding: digests are those of the stored bytes.
            headers={"User-Agent": f"{CLIENT_ID}/{__version__}", "Accept-Encoding": "identity"},
            timeout=_RESPONSE_TIMEOUT,
            limit=_MAX_CONNECTIONS,
            ca_setting="SSL_CERT_FILE",
        )

    def _refused(self, request: RegistryRequest, response: httpx.Response) -> RegistryError:
        try:
            with self.translate_errors():
                content = response.read()
        except NoResponse:
            content = b""
        user, by = self._authenticator.user, self._other_host(str(response.url))
        return response_error(self.host, request.action, response.status_code, content, user, by=by)

    def _fetch_token(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> bytes:
        """Requests a token from the token server; returns the content of the response."""
        host = urlsplit(url).netloc
        delays = self.retry_delays()
        while True:
            try:
                with closing(self._send_one(method, url, headers, content)) as response:
                    with self.translate_errors():
                        answer = response.read()
                    status = response.status_code
            except NoResponse as lost:
                self.wait_or_raise(delays, no_response_error(host, lost), again=not lost.permanent)
                continue
            if status < 400:
                return answer
            action, by = f"log in to '{self.host}'", f"its token server '{host}'"
            problem = response_error(
                self.host, action, status, answer, self._authenticator.user, by=by
            )
            self.wait_or_raise(delays, problem, again=status in _RETRYABLE)


def _without_default_port(netloc: str) -> str:
    return re.sub(r":(80|443)$", "", netloc.lower())
