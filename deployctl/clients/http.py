"""HTTP, as little of it as the Prefect API needs, and the only place that knows httpx.

Whatever can go wrong between here and an answer becomes one `NoResponse`, which says whether the
request may have reached the server: that decides whether it may be sent again.

Importing httpx costs some 80 ms, and a TLS context with all root certificates up to 200 ms: so
httpx is imported by the first request, and a plain http:// address gets an empty context.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployctl.core.errors import SettingsError
from deployctl.core.json_values import Json
from deployctl.core.redact import redact

if TYPE_CHECKING:
    import httpx

_CONNECT_SECONDS = 10.0
_KEEPALIVE_SECONDS = 4.0
"""Less than uvicorn's five: a connection that the server closes while we write on it loses an
answer."""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
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
    direct: tuple[str, ...] = ()
    """Hosts that no proxy stands before, whatever the environment says."""
    ca_setting: str = "PREFECT_API_SSL_CERT_FILE"
    """How a user names such a file."""


@dataclass(frozen=True, slots=True)
class Response:
    """What the server said. Header names are lower case; a body that is not JSON is None."""

    status: int
    headers: Mapping[str, str]
    body: Json

    @property
    def is_html(self) -> bool:
        """Whether this is a web page and not an answer of an API."""
        return self.headers.get("content-type", "").startswith("text/html")


class NoResponse(Exception):
    """A request got no answer; the message says why, without naming the server."""

    def __init__(
        self,
        reason: str,
        *,
        sent: bool,
        permanent: bool = False,
        help: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        """The server may have got the request, and may have carried it out."""
        self.permanent = permanent
        """Trying again changes nothing."""
        self.help = help


class NotSerializable(ValueError):
    """A body holds what JSON cannot say: NaN, infinity, half a surrogate pair."""


class HttpClient:
    """A client that many threads may use.

    With HTTP/1.1 they share one pool of connections. With HTTP/2 each request borrows a client
    that no other request is using, because a connection shared by threads loses requests.
    """

    def __init__(
        self, connection: ConnectionOptions, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Opens nothing yet. `transport` stands in for the network."""
        self._connection = connection
        self._transport = transport
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        self._open: list[httpx.Client] = []
        self._idle: list[httpx.Client] = []

    def send(
        self, method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """One request, one answer of whatever status.

        Raises NoResponse; NotSerializable for the body; SettingsError where certificates or a proxy
        that the environment names cannot be used.
        """
        import httpx

        content = None if body is None else _encode(body)
        sent = dict(headers or {})
        if content is not None:
            sent["Content-Type"] = "application/json"
        url = self._connection.url + path
        try:
            with self._borrowed() as client:
                response = client.request(method, url, content=content, headers=sent)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise translate_error(error, self._connection) from error
        del response.stream  # it and the response hold each other, and both bodies, as garbage
        if response.history and response.request.method != method:
            raise _redirected(str(response.url))
        lower = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, lower, _decode(response.content))

    def close(self) -> None:
        """Closes every connection."""
        with self._lock:
            while self._open:
                self._open.pop().close()
            self._idle.clear()

    @contextmanager
    def _borrowed(self) -> Iterator[httpx.Client]:
        with self._lock:
            client = self._idle.pop() if self._idle else self._new()
            if not self._connection.http2:
                self._idle.append(client)
        try:
            yield client
        finally:
            if self._connection.http2:
                with self._lock:
                    self._idle.append(client)

    def _new(self) -> httpx.Client:
        self._tls = self._tls or _tls(self._connection)
        client = open_client(
            self._connection, self._tls, follow_redirects=True, transport=self._transport
        )
        self._open.append(client)
        return client


def open_client(
    wanted: ConnectionOptions,
    tls: ssl.SSLContext | None = None,
    *,
    follow_redirects: bool = False,
    transport: httpx.BaseTransport | None = None,
) -> httpx.Client:
    """A client of httpx, for talks that are not JSON: errors of its go through `translate`.

    Raises SettingsError where certificates or a proxy that the environment names cannot be used.
    """
    import httpx

    tls = tls or _tls(wanted)
    try:
        return httpx.Client(
            headers=dict(wanted.headers),
            verify=tls,
            http2=wanted.http2,
            timeout=httpx.Timeout(wanted.timeout, connect=min(wanted.timeout, _CONNECT_SECONDS)),
            limits=httpx.Limits(
                max_connections=wanted.limit,
                max_keepalive_connections=wanted.limit,
                keepalive_expiry=_KEEPALIVE_SECONDS,
            ),
            follow_redirects=follow_redirects,
            transport=transport,
            mounts={f"all://{host}": None for host in wanted.direct},
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        raise SettingsError(
            f"the proxy that the environment names cannot be used: {redact(str(error))}",
            help="Look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.",
        ) from error


def _encode(body: Json) -> bytes:
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except ValueError as error:
        raise NotSerializable from error


def _decode(content: bytes) -> Json:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return None


def _tls(wanted: ConnectionOptions) -> ssl.SSLContext:
    """The empty context trusts nobody: a redirect to https:// fails, it is not followed blindly."""
    if wanted.url.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not wanted.verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    import httpx

    try:
        if wanted.ca_file is None:
            return httpx.create_ssl_context()
        return ssl.create_default_context(cafile=wanted.ca_file)
    except OSError as error:  # ssl.SSLError is one
        name = wanted.ca_file or os.environ.get("SSL_CERT_FILE", "")
        raise SettingsError(
            f"the certificate file '{name}' cannot be used: {error.strerror or error}",
            help=f"Set {wanted.ca_setting} to a file of certificates in PEM form.",
        ) from error


def _redirected(target: str) -> NoResponse:
    return NoResponse(
        f"it redirects to '{target}'",
        sent=False,
        permanent=True,
        help="Set PREFECT_API_URL to the address that it redirects to.",
    )


def translate_error(error: Exception, wanted: ConnectionOptions) -> NoResponse:
    """What a client's error means: HTTPError, InvalidURL or StreamError of httpx."""
    import httpx

    if isinstance(error, httpx.RequestError) and _left_for_https(error, wanted):
        return _redirected(str(error.request.url))
    if isinstance(error, httpx.PoolTimeout):
        return NoResponse("no connection became free in time", sent=False)
    if isinstance(error, httpx.ConnectTimeout):
        return NoResponse("it does not answer (timeout while connecting)", sent=False)
    if isinstance(error, httpx.ProxyError):
        return NoResponse(f"the proxy refused: {redact(str(error))}", sent=False)
    if isinstance(error, httpx.ConnectError):
        return _not_connected(error, wanted)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return NoResponse(f"its address cannot be used: {error}", sent=False, permanent=True)
    if isinstance(error, httpx.TooManyRedirects):
        return NoResponse("it redirects in circles", sent=False, permanent=True)
    if isinstance(error, httpx.LocalProtocolError) and not wanted.http2:
        # Its text repeats the header that is wrong, and that may be the credential.
        return NoResponse("a header cannot be sent", sent=False, permanent=True)
    if isinstance(error, httpx.TimeoutException):
        return NoResponse(f"no answer within {wanted.timeout:g} s", sent=True)
    return NoResponse(f"the connection broke: {_root(error) or type(error).__name__}", sent=True)


def _left_for_https(error: httpx.RequestError, wanted: ConnectionOptions) -> bool:
    return wanted.url.startswith("http://") and error.request.url.scheme == "https"


def _not_connected(error: Exception, wanted: ConnectionOptions) -> NoResponse:
    import socket

    cause = next((each for each in _chain(error) if isinstance(each, OSError)), None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return NoResponse(
            f"its certificate is not trusted: {cause.verify_message}",
            sent=False,
            permanent=True,
            help=f"Set {wanted.ca_setting} to the certificate of its authority.",
        )
    if isinstance(cause, ssl.SSLError):
        return NoResponse(
            f"TLS failed: {cause.reason or cause}",
            sent=False,
            permanent=cause.reason == "WRONG_VERSION_NUMBER",
            help="Is it an http:// address and not an https:// one?",
        )
    if isinstance(cause, socket.gaierror):
        return NoResponse(f"its name cannot be resolved: {cause.strerror}", sent=False)
    if isinstance(cause, ConnectionRefusedError):
        return NoResponse("nothing listens there (connection refused)", sent=False)
    return NoResponse(f"no connection: {_root(error)}", sent=False)


def _root(error: BaseException) -> str:
    """The text of the innermost error: httpx and httpcore only repeat it."""
    return str(list(_chain(error))[-1])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
