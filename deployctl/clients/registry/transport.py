"""Requests to one registry: with the right login, and again where another try may help.

What is asked for is repeated after a broken connection, a 5xx or a 429 (which says how long to
wait), unless the request says that it must not be. Redirects of reads are followed, to storage that
lies elsewhere; logins go to the registry and its token server only. A registry on this machine may
speak plain HTTP, which is tried first there; all others are spoken to by TLS.
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
from deployctl.clients.http import ConnectionOptions, NoResponse, open_client, translate_error
from deployctl.clients.registry.auth import CLIENT_ID, Authenticator, Credentials, is_loopback
from deployctl.clients.registry.errors import RegistryError, refused, unreachable
from deployctl.core.cancellation import CancellationToken
from deployctl.core.redact import redact
from deployctl.core.retry import Backoff, parse_retry_after

if TYPE_CHECKING:
    import httpx

_ANSWER_SECONDS = 300.0
"""A registry says nothing while it checks and moves what was sent, and that may be gigabytes."""
_CONNECTIONS = 24
_REDIRECTS = 5
_PATIENCE = 60.0
"""Seconds: a registry that asks for more is given up at once, and not waited for in silence."""
_NOT_BEGUN = frozenset({429, 503})
_AGAIN = _NOT_BEGUN | {408, 500, 502, 504}
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

Body = bytes | Callable[[], Iterable[bytes]]
"""What is sent, or gives it from its beginning each time that it is called."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a registry."""

    method: str
    target: str
    """A path from `/v2/` on, or a URL that the registry gave."""
    about: str
    """What is wanted, for messages: `cannot ABOUT`."""
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    repeat: bool = True
    missing_ok: bool = False
    """A 404 is an answer, and not an error."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as a whole. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Transport:
    """The way to one registry, for many threads; opened when it is first used."""

    def __init__(
        self,
        host: str,
        address: str,
        login: Credentials | None,
        stop: CancellationToken,
        backoff: Backoff,
    ) -> None:
        """`host` is the registry's name, and `address` where it is."""
        self.host = host
        self._address = address
        self.stop = stop
        self.backoff = backoff
        self._authority = Authenticator(host, login, self._fetch_token)
        self._lock = threading.Lock()
        self._clients: dict[str, httpx.Client] = {}
        self._scheme = "" if is_loopback(address) else "https"

    def close(self) -> None:
        """Closes every connection."""
        with self._lock:
            while self._clients:
                self._clients.popitem()[1].close()

    def ask(self, request: Request) -> Reply:
        """Sends a request and reads the answer. Raises RegistryError, Interrupted."""
        waits = self.waits()
        while True:
            try:
                with self.open(request) as response, self.translated():
                    content = response.read()
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status_code, headers, content)
            except NoResponse as lost:
                self.pause(waits, unreachable(self.host, lost), again=request.repeat)

    @contextmanager
    def open(self, request: Request) -> Iterator[httpx.Response]:
        """Sends a request; the answer, whose content is still to be read, is of status < 400.

        Who reads it does so inside `translated`. Raises RegistryError, Interrupted.
        """
        waits = self.waits()
        while True:
            try:
                response = self._authorized(request)
            except NoResponse as lost:
                again = not lost.permanent and (request.repeat or not lost.sent)
                self.pause(waits, unreachable(self.host, lost), again=again)
                continue
            with closing(response):
                missing = response.status_code == 404 and request.missing_ok
                if response.status_code < 400 or missing:
                    yield response
                    return
                problem = self._refused(request, response)
                asked = parse_retry_after(
                    response.headers.get("Retry-After", ""), datetime.now(UTC)
                )
            again = response.status_code in (_AGAIN if request.repeat else _NOT_BEGUN)
            self.pause(waits, problem, again=again, asked=asked)

    def waits(self) -> Iterator[float]:
        """Seconds to wait before the next tries."""
        return self.backoff.waits(random.Random())

    def pause(
        self,
        waits: Iterator[float],
        problem: RegistryError,
        *,
        again: bool = True,
        asked: float | None = None,
    ) -> None:
        """Waits before another try; raises the problem where there is none left, Interrupted."""
        asked = asked or 0.0
        wait = next(waits, None) if again and asked <= _PATIENCE else None
        if wait is None:
            raise problem
        self.stop.wait(max(wait, asked))
        self.stop.raise_if_cancelled()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """What httpx raises becomes NoResponse."""
        import httpx

        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise translate_error(error, self._connection("https")) from error

    def _authorized(self, request: Request) -> httpx.Response:
        """The answer, after a second try with what the first one said is wanted."""
        used = self._authority.header(request.scopes)
        response = self._send(request, used)
        if response.status_code != 401 or self._elsewhere(str(response.url)):
            return response
        said = response.headers.get_list("WWW-Authenticate")
        better = self._authority.learn(said, request.scopes, used)
        if better is None:
            return response
        response.close()
        return self._send(request, better)

    def _send(self, request: Request, authorization: str | None) -> httpx.Response:
        """Sends a request and, where the answer is a redirect of a read, what follows from it."""
        url = self._url(request.target)
        for _ in range(_REDIRECTS):
            headers = dict(request.headers)
            elsewhere = self._elsewhere(url)
            if authorization and not elsewhere:
                headers["Authorization"] = authorization
            try:
                response = self._send_one(request.method, url, headers, request.body)
            except NoResponse as lost:
                lost.reason = f"{elsewhere}: {lost.reason}" if elsewhere else lost.reason
                raise
            if not response.is_redirect:
                return response
            response.close()
            target = response.headers.get("Location", "")
            if request.method not in ("GET", "HEAD") or not target:
                shown = redact(target.partition("?")[0])
                raise NoResponse(
                    f"it redirects to '{shown}', also what is sent to it",
                    sent=False,
                    permanent=True,
                    help="name the image by the address where its registry really is",
                )
            url = self._url(urljoin(url, target))
        raise NoResponse("it redirects in circles", sent=False, permanent=True)

    def _send_one(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None
    ) -> httpx.Response:
        client = self._client(urlsplit(url).scheme)
        with self.translated():
            request = client.build_request(
                method, url, headers=dict(headers), content=body() if callable(body) else body
            )
            return client.send(request, stream=True)

    def _url(self, target: str) -> str:
        """The whole URL; what lies at the registry is asked for the way that it is spoken to.

        Registries behind a proxy that does the TLS for them often name themselves by http://.
        """
        url = urljoin(f"{self._speaks()}://{self._address}", target)
        if self._elsewhere(url):
            return url
        return urlsplit(url)._replace(scheme=self._speaks(), netloc=self._address).geturl()

    def _elsewhere(self, url: str) -> str:
        """Where a URL leads to, for messages, if that is not the registry itself; else ""."""
        netloc = urlsplit(url).netloc
        itself = _without_usual_port(netloc) == _without_usual_port(self._address)
        return "" if itself else f"'{netloc.rpartition('@')[2]}' behind it"

    def _speaks(self) -> str:
        """The scheme of the registry's URLs. Raises NoResponse."""
        if not self._scheme:
            with closing(self._send_one("GET", f"http://{self._address}/v2/", {}, None)) as said:
                self._scheme = "https" if said.status_code == 400 else "http"
        return self._scheme

    def _client(self, scheme: str) -> httpx.Client:
        with self._lock:
            if scheme not in self._clients:
                self._clients[scheme] = open_client(self._connection(scheme))
            return self._clients[scheme]

    def _connection(self, scheme: str) -> ConnectionOptions:
        return ConnectionOptions(
            f"{scheme}://{self._address}",
            # Blobs are taken as they lie there: their digests are of that.
            headers={"User-Agent": f"{CLIENT_ID}/{__version__}", "Accept-Encoding": "identity"},
            timeout=_ANSWER_SECONDS,
            limit=_CONNECTIONS,
            direct=_LOOPBACK,
            ca_setting="SSL_CERT_FILE",
        )

    def _refused(self, request: Request, response: httpx.Response) -> RegistryError:
        try:
            with self.translated():
                content = response.read()
        except NoResponse:
            content = b""
        user, by = self._authority.user, self._elsewhere(str(response.url))
        return refused(self.host, request.about, response.status_code, content, user, by=by)

    def _fetch_token(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> bytes:
        """Asks the token server, which knows nothing of the registry's own authorization."""
        host = urlsplit(url).netloc
        waits = self.waits()
        while True:
            try:
                with closing(self._send_one(method, url, headers, content)) as response:
                    with self.translated():
                        answer = response.read()
                    status = response.status_code
            except NoResponse as lost:
                self.pause(waits, unreachable(host, lost), again=not lost.permanent)
                continue
            if status < 400:
                return answer
            about, by = f"log in to '{self.host}'", f"its token server '{host}'"
            problem = refused(self.host, about, status, answer, self._authority.user, by=by)
            self.pause(waits, problem, again=status in _AGAIN)


def _without_usual_port(netloc: str) -> str:
    return re.sub(r":(80|443)$", "", netloc.lower())
