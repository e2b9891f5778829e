"""HTTP, as little of it as the Prefect API needs, and the only place that knows httpx.

Whatever can go wrong between here and an answer becomes one `NoAnswer`, which says whether the
request may have reached the server: that decides whether it may be sent again.

Traded away: importing httpx costs some 80 ms and a TLS context with all root certificates 20 ms or
more, so httpx is imported when the first client opens, and plain http:// gets an empty context.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployctl.core.errors import SettingsError
from deployctl.core.values import Json

if TYPE_CHECKING:
    import httpx

_CONNECT_SECONDS = 10.0
_KEEPALIVE_SECONDS = 4.0
"""Less than uvicorn's five: a connection that the server closes while we write on it loses an
answer."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a server."""

    url: str
    """What request paths are appended to."""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0
    """Seconds to wait for the server to say anything."""
    ca_file: str | None = None
    """Certificates to trust; None means those that httpx trusts."""
    verify: bool = True
    http2: bool = False
    limit: int = 16
    """How many connections may be open."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said. Header names are lower case; a body that is not JSON is None."""

    status: int
    headers: Mapping[str, str]
    body: Json

    @property
    def is_page(self) -> bool:
        """Whether this is a web page and not an answer of an API."""
        return self.headers.get("content-type", "").startswith("text/html")


class NoAnswer(Exception):
    """A request got no answer; the message says why, without naming the server."""

    def __init__(
        self,
        reason: str,
        *,
        sent: bool,
        hopeless: bool = False,
        help: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        """The server may have got the request, and may have carried it out."""
        self.hopeless = hopeless
        """Trying again changes nothing."""
        self.help = help


class Http:
    """A client that many threads may use.

    With HTTP/1.1 they share one pool of connections. With HTTP/2 each thread has a connection of
    its own, because one that is shared by threads loses requests.
    """

    def __init__(
        self, connection: Connection, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Opens nothing yet. `transport` stands in for the network."""
        self._connection = connection
        self._transport = transport
        self._lock = threading.Lock()
        self._own = threading.local()
        self._shared: httpx.Client | None = None
        self._open: list[httpx.Client] = []

    def send(
        self, method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request, one answer of whatever status.

        Raises NoAnswer; SettingsError where the certificates cannot be read; ValueError where the
        body cannot be said in JSON (NaN, half a surrogate pair).
        """
        import httpx

        content = None if body is None else _encode(body)
        sent = dict(headers or {})
        if content is not None:
            sent["Content-Type"] = "application/json"
        client = self._client()
        try:
            response = client.request(
                method, self._connection.url + path, content=content, headers=sent
            )
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise _translate(error, self._connection) from error
        _refuse_changed_method(method, response)
        lower = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, lower, _decode(response.content))

    def close(self) -> None:
        """Closes every connection; the client may be used again afterwards."""
        with self._lock:
            clients, self._open, self._shared = self._open, [], None
            self._own = threading.local()
        for client in clients:
            client.close()

    def _client(self) -> httpx.Client:
        if self._connection.http2:
            if not hasattr(self._own, "client"):
                self._own.client = self._new()
            client: httpx.Client = self._own.client
            return client
        with self._lock:
            if self._shared is None:
                self._shared = self._new(locked=True)
            return self._shared

    def _new(self, *, locked: bool = False) -> httpx.Client:
        import httpx

        wanted = self._connection
        client = httpx.Client(
            headers=dict(wanted.headers),
            verify=_tls(wanted),
            http2=wanted.http2,
            timeout=httpx.Timeout(wanted.timeout, connect=min(wanted.timeout, _CONNECT_SECONDS)),
            limits=httpx.Limits(
                max_connections=wanted.limit,
                max_keepalive_connections=wanted.limit,
                keepalive_expiry=_KEEPALIVE_SECONDS,
            ),
            follow_redirects=True,
            transport=self._transport,
        )
        if locked:
            self._open.append(client)
        else:
            with self._lock:
                self._open.append(client)
        return client


def _encode(body: Json) -> bytes:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode()


def _decode(content: bytes) -> Json:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return None


def _tls(wanted: Connection) -> ssl.SSLContext | bool:
    """The empty context trusts nobody: a redirect to https:// fails, it is not followed blindly."""
    if wanted.url.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not wanted.verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if wanted.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=wanted.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(
            f"the certificate file '{wanted.ca_file}' cannot be used: {error.strerror or error}",
            help="Set PREFECT_API_SSL_CERT_FILE to a file of certificates in PEM form.",
        ) from error


def _refuse_changed_method(method: str, response: httpx.Response) -> None:
    if response.history and response.request.method != method:
        raise _redirected(str(response.url))


def _redirected(target: str) -> NoAnswer:
    return NoAnswer(
        f"it redirects to '{target}'",
        sent=False,
        hopeless=True,
        help="Set PREFECT_API_URL to the address that it redirects to.",
    )


def _translate(error: Exception, wanted: Connection) -> NoAnswer:
    import httpx

    if isinstance(error, httpx.RequestError) and _left_for_https(error, wanted):
        return _redirected(str(error.request.url))
    if isinstance(error, httpx.PoolTimeout):
        return NoAnswer("no connection became free in time", sent=False)
    if isinstance(error, httpx.ConnectTimeout):
        return NoAnswer("it does not answer (timeout while connecting)", sent=False)
    if isinstance(error, httpx.ProxyError):
        return NoAnswer(f"the proxy refused: {error}", sent=False)
    if isinstance(error, httpx.ConnectError):
        return _not_connected(error)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return NoAnswer(f"its address cannot be used: {error}", sent=False, hopeless=True)
    if isinstance(error, httpx.TooManyRedirects):
        return NoAnswer("it redirects in circles", sent=False, hopeless=True)
    if isinstance(error, httpx.LocalProtocolError) and not wanted.http2:
        # Its text repeats the header that is wrong, and that may be the credential.
        return NoAnswer("a header cannot be sent", sent=False, hopeless=True)
    if isinstance(error, httpx.TimeoutException):
        return NoAnswer(f"no answer within {wanted.timeout:g} s", sent=True)
    return NoAnswer(f"the connection broke: {_root(error) or type(error).__name__}", sent=True)


def _left_for_https(error: httpx.RequestError, wanted: Connection) -> bool:
    plain = wanted.url.startswith("http://")
    return plain and error._request is not None and error.request.url.scheme == "https"


def _not_connected(error: Exception) -> NoAnswer:
    import socket

    cause = _find(error, lambda each: isinstance(each, OSError))
    if isinstance(cause, ssl.SSLCertVerificationError):
        return NoAnswer(
            f"its certificate is not trusted: {cause.verify_message}",
            sent=False,
            hopeless=True,
            help="Set PREFECT_API_SSL_CERT_FILE to the certificate of its authority.",
        )
    if isinstance(cause, ssl.SSLError):
        return NoAnswer(
            f"TLS failed: {cause.reason or cause}",
            sent=False,
            hopeless=True,
            help="Is it an http:// address and not an https:// one?",
        )
    if isinstance(cause, socket.gaierror):
        return NoAnswer(f"its name cannot be resolved: {cause.strerror}", sent=False)
    if isinstance(cause, ConnectionRefusedError):
        return NoAnswer("nothing listens there (connection refused)", sent=False)
    return NoAnswer(f"no connection: {_root(error)}", sent=False)


def _root(error: BaseException) -> str:
    """The text of the innermost error: httpx and httpcore only repeat it."""
    last = error
    while (inner := last.__cause__ or last.__context__) is not None:
        last = inner
    return str(last)


def _find(
    error: BaseException | None, wanted: Callable[[BaseException], bool]
) -> BaseException | None:
    while error is not None and not wanted(error):
        error = error.__cause__ or error.__context__
    return error
