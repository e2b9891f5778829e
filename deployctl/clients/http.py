"""HTTP with JSON bodies, as far as the Prefect API needs it: the only importer of httpx.

Every failure to get a response becomes one `NoResponse`, which says whether the server may have
received the request: that decides whether it may be sent again.

Importing httpx takes about 80 ms, and loading all root certificates into a TLS context up to
200 ms. So httpx is imported by the first request, and a plain http:// URL gets an empty context.
"""

from __future__ import annotations

import json
import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from deployctl.clients.proxies import proxy_for
from deployctl.clients.tls import relax_strict_checks
from deployctl.core.errors import SettingsError
from deployctl.core.json_values import Json
from deployctl.core.redact import redact

if TYPE_CHECKING:
    import httpx

_CONNECT_TIMEOUT = 10.0
_KEEPALIVE_EXPIRY = 4.0
"""Less than uvicorn's five seconds: if the server closes a connection while a request is being
written to it, the response is lost."""


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How to connect to a server."""

    url: str
    """The base URL; request paths are appended to it."""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0
    """Seconds without any data from the server."""
    ca_file: str | None = None
    """Trusted certificates in PEM format; None: those that httpx trusts."""
    verify: bool = True
    http2: bool = False
    limit: int = 16
    """Maximum number of connections."""
    ca_setting: str = "PREFECT_API_SSL_CERT_FILE"
    """The setting of `ca_file`, for messages."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response. Header names are lower case; a body that is not JSON is None."""

    status: int
    headers: Mapping[str, str]
    body: Json

    @property
    def is_html(self) -> bool:
        """Whether the body is a web page, which an API never returns."""
        return self.headers.get("content-type", "").startswith("text/html")


class NoResponse(Exception):
    """A request got no response. The message gives the reason without naming the server."""

    def __init__(
        self,
        reason: str,
        *,
        sent: bool,
        permanent: bool = False,
        cut_off: bool = False,
        help: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        """The server may have received the request, and may have carried it out."""
        self.permanent = permanent
        """A retry would fail in the same way."""
        self.cut_off = cut_off
        """The connection ended before the response, as when a server closes an idle one."""
        self.help = help


class NotSerializable(ValueError):
    """A body contains a value that JSON cannot represent: NaN, infinity, or a lone surrogate."""


class HttpClient:
    """A thread-safe HTTP client.

    With HTTP/1.1 all threads share one connection pool. With HTTP/2 each request borrows a client
    that no other request is using, because a shared HTTP/2 connection loses requests under threads.
    """

    def __init__(
        self, options: HttpOptions, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Opens no connection. `transport` replaces the network in tests."""
        self._options = options
        self._transport = transport
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        self._clients: list[httpx.Client] = []
        self._idle: list[httpx.Client] = []

    def send(
        self,
        method: str,
        path: str,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
    ) -> Response:
        """Sends one request and returns the response, whatever its status.

        `timeout` in seconds replaces that of the options, if that is longer.

        Raises NoResponse; NotSerializable for the body; SettingsError if certificates, or a proxy
        from the environment, cannot be used.
        """
        import httpx

        content = None if body is None else _encode(body)
        all_headers = dict(headers or {})
        if content is not None:
            all_headers["Content-Type"] = "application/json"
        url = self._options.url + path
        seconds = min(timeout or self._options.timeout, self._options.timeout)
        options = replace(self._options, timeout=seconds)
        try:
            with self._client() as client:
                response = client.request(
                    method, url, content=content, headers=all_headers, timeout=_timeouts(options)
                )
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise translate_error(error, options) from error
        del response.stream  # breaks a reference cycle that keeps both bodies alive
        if response.history and response.request.method != method:
            raise _redirected(str(response.url))
        lower = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, lower, _decode(response.content))

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            while self._clients:
                self._clients.pop().close()
            self._idle.clear()

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        with self._lock:
            client = self._idle.pop() if self._idle else self._open_client()
            if not self._options.http2:
                self._idle.append(client)
        try:
            yield client
        finally:
            if self._options.http2:
                with self._lock:
                    self._idle.append(client)

    def _open_client(self) -> httpx.Client:
        self._tls = self._tls or _tls_context(self._options)
        client = open_client(
            self._options, self._tls, follow_redirects=True, transport=self._transport
        )
        client.event_hooks = {"request": [self._refuse_other_origin]}
        self._clients.append(client)
        return client

    def _refuse_other_origin(self, request: httpx.Request) -> None:
        """Raises NoResponse if a redirect leads to another origin.

        httpx drops only the Authorization header there; custom headers may hold credentials, too,
        and a 307 or 308 sends the body again.
        """
        import httpx

        if _origin(request.url) != _origin(httpx.URL(self._options.url)):
            raise _redirected(str(request.url))


def open_client(
    options: HttpOptions,
    tls: ssl.SSLContext | None = None,
    *,
    follow_redirects: bool = False,
    transport: httpx.BaseTransport | None = None,
) -> httpx.Client:
    """Returns an httpx client for callers that don't speak JSON; see `translate_error` for errors.

    Raises SettingsError if certificates, or a proxy from the environment, cannot be used.
    """
    import httpx

    tls = tls or _tls_context(options)
    try:
        return httpx.Client(
            headers=dict(options.headers),
            verify=tls,
            http2=options.http2,
            timeout=_timeouts(options),
            limits=httpx.Limits(
                max_connections=options.limit,
                max_keepalive_connections=options.limit,
                keepalive_expiry=_KEEPALIVE_EXPIRY,
            ),
            follow_redirects=follow_redirects,
            transport=transport,
            proxy=None if transport else proxy_for(options.url),
            trust_env=False,
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        raise SettingsError(
            f"the proxy from the environment cannot be used: {redact(str(error))}",
            help="Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.",
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


def _tls_context(options: HttpOptions) -> ssl.SSLContext:
    """The TLS context; for http:// an empty one, because loading certificates is slow."""
    if options.url.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not options.verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    import httpx

    try:
        context = (
            httpx.create_ssl_context()
            if options.ca_file is None
            else ssl.create_default_context(cafile=options.ca_file)
        )
    except OSError as error:  # the base class of ssl.SSLError
        name = options.ca_file or os.environ.get("SSL_CERT_FILE", "")
        raise SettingsError(
            f"the certificate file '{name}' cannot be used: {error.strerror or error}",
            help=f"Set {options.ca_setting} to a file of certificates in PEM format.",
        ) from error
    return relax_strict_checks(context)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL; httpx leaves out the scheme's default port."""
    return url.scheme, url.host, url.port


def _redirected(target: str) -> NoResponse:
    return NoResponse(
        f"it redirects to '{target}'",
        sent=False,
        permanent=True,
        help="Set PREFECT_API_URL to the address that it redirects to.",
    )


def _timeouts(options: HttpOptions) -> httpx.Timeout:
    import httpx

    return httpx.Timeout(options.timeout, connect=min(options.timeout, _CONNECT_TIMEOUT))


def translate_error(error: Exception, options: HttpOptions) -> NoResponse:
    """Translates HTTPError, InvalidURL or StreamError of httpx into NoResponse."""
    import httpx

    if isinstance(error, httpx.PoolTimeout):
        return NoResponse("no connection became free in time", sent=False)
    if isinstance(error, httpx.ConnectTimeout):
        return NoResponse("it does not respond (timeout while connecting)", sent=False)
    if isinstance(error, httpx.ProxyError):
        return NoResponse(f"the proxy refused: {redact(str(error))}", sent=False)
    if isinstance(error, httpx.ConnectError):
        return _not_connected(error, options)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return NoResponse(f"its address is invalid: {error}", sent=False, permanent=True)
    if isinstance(error, httpx.TooManyRedirects):
        return NoResponse("it redirects in circles", sent=False, permanent=True)
    if isinstance(error, httpx.LocalProtocolError) and not options.http2:
        # The text of the error repeats the invalid header, which may be the credential.
        return NoResponse("a header is not valid in HTTP", sent=False, permanent=True)
    if isinstance(error, httpx.TimeoutException):
        return NoResponse(f"no response within {options.timeout:g} s", sent=True)
    reason = _root_message(error) or type(error).__name__
    return NoResponse(f"the connection broke: {reason}", sent=True, cut_off=True)


def _not_connected(error: Exception, options: HttpOptions) -> NoResponse:
    import socket

    cause = next((each for each in _chain(error) if isinstance(each, OSError)), None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return NoResponse(
            f"its certificate is not trusted: {cause.verify_message}",
            sent=False,
            permanent=True,
            help=f"Set {options.ca_setting} to the certificate of its authority.",
        )
    if isinstance(cause, ssl.SSLError):
        return NoResponse(
            f"TLS failed: {cause.reason or cause}",
            sent=False,
            permanent=cause.reason == "WRONG_VERSION_NUMBER",
            help="Check whether its address starts with http:// instead of https://.",
        )
    if isinstance(cause, socket.gaierror):
        return NoResponse(f"its name cannot be resolved: {cause.strerror}", sent=False)
    if isinstance(cause, ConnectionRefusedError):
        return NoResponse("nothing listens there (connection refused)", sent=False)
    return NoResponse(f"no connection: {_root_message(error)}", sent=False)


def _root_message(error: BaseException) -> str:
    """The message of the innermost error, which httpx and httpcore only repeat."""
    return str(list(_chain(error))[-1])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
