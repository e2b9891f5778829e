"""The Kubernetes API with plain JSON: the only importer of the kubernetes library.

Only two parts of that library are used: the credentials (kubeconfig, service accounts, exec
plugins, proxies) and the urllib3 pool that they configure. Both are unchanged from release 28 to
37, while the layers above were rewritten twice; and typed models cost 30 MB and reject manifests
that the API server accepts. The price is that callers write out the paths.

Every failure becomes `KubeApiError` (an error response) or `KubeUnreachable` (no response).
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from deployctl import __version__
from deployctl.clients.tls import relax_strict_checks
from deployctl.core.clock import ServerClock
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.core.redact import redact

if TYPE_CHECKING:
    from kubernetes.client.configuration import Configuration
    from urllib3 import BaseHTTPResponse

T = TypeVar("T")

PAGE_SIZE = 50
"""Page size of lists. With 50, listing 5,000 Jobs and pods takes at most 59 MB; with 500, 87 MB."""

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""The form of a list without the content of its objects, such as the values of Secrets."""

_CONNECT_TIMEOUT = 10.0
_READ_TIMEOUT = 30.0
_CHUNK_SIZE = 64 * 1024
_MAX_LOG_LINE = 64 * 1024
_KEEPALIVE = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4))
"""Detects a dead peer within 40 s, also if a firewall drops idle connections."""
_MAX_LIST_RESTARTS = 5
"""How often a list may restart because its continue token expired (410)."""


class KubeApiError(DeployctlError):
    """The API server returned an error response."""

    code = "DC610"

    def __init__(
        self, status: int, reason: str, message: str, retry_after: float | None = None
    ) -> None:
        """`reason` is the one of the `Status` object (`Forbidden`); `retry_after` is in seconds."""
        super().__init__(f"the Kubernetes API returned an error ({status}): {message}")
        self.status = status
        self.reason = reason
        self.detail = message
        self.retry_after = retry_after

    @property
    def is_retryable(self) -> bool:
        """Whether a retry may succeed: overload, server errors, expired credentials."""
        return self.status in (401, 408, 429) or self.status >= 500


class KubeUnreachable(DeployctlError):
    """The API server gave no response."""

    code = "DC611"

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(f"the Kubernetes API gave no response: {reason}")
        self.sent = sent
        """The request may have been carried out."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A consistent list of objects."""

    items: list[Any]
    resource_version: str
    """The resource version of the list, from which a watch continues."""


class Stream:
    """The lines of a streaming response. Use it in a `with` statement.

    `abort` ends the iteration from any thread, at once and without an error.
    """

    def __init__(self, response: BaseHTTPResponse, max_line: int | None = None) -> None:
        """`max_line`: bytes that are kept of a line; None: all."""
        self._response = response
        self._max_line = max_line
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._closed = True
            self._response.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yields lines without line end; raises KubeUnreachable when the connection breaks."""
        rest = b""
        try:
            for chunk in self._response.stream(_CHUNK_SIZE, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line[: self._max_line] for line in lines)
                rest = rest[: self._max_line]
        except _network_errors() as error:
            if self._closed:
                return
            raise _unreachable(error) from error
        if rest:
            yield rest

    def abort(self) -> None:
        """Ends the iteration and wakes up a thread that is blocked in it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with (
                suppress(OSError, ValueError, AttributeError),
                socket.socket(fileno=os.dup(self._response.fileno())) as connection,
            ):
                connection.shutdown(socket.SHUT_RDWR)


class KubeClient:
    """A thread-safe client of one cluster with one set of credentials."""

    def __init__(self, configuration: Configuration, namespace: str) -> None:
        """`namespace` is the default one: that of the pod, or of the kubeconfig context."""
        from kubernetes.client.rest import RESTClientObject  # ApiClient imports pydantic: 10 MB

        self.namespace = namespace
        self.source = ""
        """Where the address came from, for messages."""
        self.on_error: Callable[[int | None], object] = lambda _status: None
        """Called with the status of each failed request, None for one without a response."""
        self._configuration = configuration
        self._pool = RESTClientObject(configuration).pool_manager
        self._pool.connection_pool_kw["socket_options"] = _socket_options()
        if self.host.startswith("https://"):
            self._pool.connection_pool_kw["ssl_context"] = _tls_context(configuration)
        self.clock = ServerClock()
        """The clock of the API server."""

    @property
    def host(self) -> str:
        """The address of the API server."""
        return str(self._configuration.host).rstrip("/")

    def identity(self) -> bytes:
        """Identifies the cluster without a request: the bytes of its CA, else its address."""
        inline = getattr(self._configuration, "ca_cert_data", None)
        if inline:
            return inline if isinstance(inline, bytes) else str(inline).encode()
        if self._configuration.ssl_ca_cert:
            with suppress(OSError):
                return Path(self._configuration.ssl_ca_cert).read_bytes()
        return self.host.encode()

    def close(self) -> None:
        """Closes idle connections."""
        self._pool.clear()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json = None,
        timeout: float = _READ_TIMEOUT,
        accept: str = "application/json",
    ) -> Json:
        """Sends one request and returns the response. `timeout`: seconds without any data.

        `accept`: the form of the response, such as METADATA_ONLY. Raises KubeApiError or
        KubeUnreachable.
        """
        content = self._read(self._open(method, path, query, body, timeout, accept))
        try:
            return json.loads(content or b"null")
        except ValueError as error:
            raise KubeUnreachable("the response is not JSON", sent=True) from error

    def read_log(self, path: str, query: Mapping[str, str]) -> str:
        """Returns the text of a log. Raises like `request`."""
        return self._read(self._open("GET", path, query)).decode(errors="replace")

    def list_objects(
        self, path: str, selector: str, keep: Callable[[Json], T], limit: int = PAGE_SIZE
    ) -> Listing:
        """Lists all objects that match the label selector, as of one resource version.

        They are read in pages of `limit`; `keep` converts each object, so that full objects don't
        accumulate. Raises like `request`.
        """
        for _ in range(_MAX_LIST_RESTARTS):
            try:
                return self._pages(path, selector, keep, limit)
            except KubeApiError as error:
                if error.status != 410:
                    raise
                expired = error
        raise expired

    def watch(self, path: str, selector: str, version: str, silence: float) -> Stream:
        """Opens a watch from resource version `version`; read it with `watch_events`.

        `silence`: seconds without data after which the connection counts as dead.
        """
        query = {
            "watch": "true",
            "labelSelector": selector,
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
        }
        return Stream(self._open("GET", path, query, timeout=silence))

    def follow_log(self, path: str, query: Mapping[str, str]) -> Stream:
        """Streams a log until its container ends; TCP keepalive detects a dead peer.

        The end of a line of more than 64 KiB is left out.
        """
        response = self._open("GET", path, {**query, "follow": "true"}, timeout=None)
        return Stream(response, max_line=_MAX_LOG_LINE)

    def _pages(self, path: str, selector: str, keep: Callable[[Json], T], limit: int) -> Listing:
        query = {"labelSelector": selector, "limit": str(limit)}
        items: list[T] = []
        while True:
            page = self.request("GET", path, query=query)
            items += [keep(item) for item in page.get("items") or ()]
            query["continue"] = page["metadata"].get("continue") or ""
            if not query["continue"]:
                return Listing(items, str(page["metadata"].get("resourceVersion", "")))

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json = None,
        timeout: float | None = _READ_TIMEOUT,
        accept: str = "application/json",
    ) -> BaseHTTPResponse:
        from urllib3 import Timeout

        url = f"{self.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = self._headers() | {"Accept": accept}
        if body is not None:
            patch = method == "PATCH"
            headers["Content-Type"] = f"application/{'merge-patch+' if patch else ''}json"
        try:
            response: BaseHTTPResponse = self._pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=Timeout(connect=min(_CONNECT_TIMEOUT, timeout or inf), read=timeout),
                retries=False,
                preload_content=False,
            )
        except _network_errors() as error:
            self.on_error(None)
            raise _unreachable(error) from error
        self.clock.observe(response.headers.get("Date", ""))
        if response.status >= 300:
            self.on_error(response.status)
            raise _api_error(response.status, self._read(response), response.headers)
        return response

    def _headers(self) -> dict[str, str]:
        """The headers of a request, with fresh credentials: those of a pod change every hour."""
        from kubernetes.config.config_exception import ConfigException

        headers = {"User-Agent": f"deployctl/{__version__}"}
        try:
            settings: Json = self._configuration.auth_settings()
        except (ConfigException, OSError, ValueError, KeyError) as error:
            raise KubeUnreachable(
                "its credentials cannot be read: " + redact(str(error)), sent=False
            ) from error
        headers |= {each["key"]: each["value"] for each in settings.values() if each["value"]}
        return headers

    @staticmethod
    def _read(response: BaseHTTPResponse) -> bytes:
        """Reads the whole response, which returns the connection to the pool."""
        try:
            content: bytes = response.read(decode_content=True)
        except _network_errors() as error:
            response.close()
            raise _unreachable(error) from error
        response.release_conn()
        return content


def watch_events(stream: Stream) -> Iterator[tuple[str, Json]]:
    """Yields the type of each watch event (ADDED, MODIFIED, DELETED, BOOKMARK) and its object.

    Raises KubeApiError for an ERROR event: the watch is over, and its resource version may have
    expired. Raises KubeUnreachable for a truncated line.
    """
    for line in stream:
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError as error:
            raise KubeUnreachable("a watch event was truncated", sent=True) from error
        if event["type"] == "ERROR":
            raise _api_error(int(event["object"].get("code") or 500), line)
        yield event["type"], event["object"]


def _tls_context(configuration: Configuration) -> ssl.SSLContext:
    """The context of all connections; urllib3 adds authority and client certificate to it."""
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    if not (configuration.ssl_ca_cert or getattr(configuration, "ca_cert_data", None)):
        context.load_default_certs()
    return relax_strict_checks(context)


def _socket_options() -> list[tuple[int, int, int]]:
    options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ]
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


def _network_errors() -> tuple[type[Exception], ...]:
    """What urllib3 raises; ValueError and AttributeError: the response was closed while reading."""
    from urllib3.exceptions import HTTPError

    return (HTTPError, OSError, ValueError, AttributeError)


def _unreachable(error: Exception) -> KubeUnreachable:
    """Translates an error of urllib3, with a message of its own if urllib3's is unclear."""
    from urllib3 import exceptions

    if isinstance(error, exceptions.ReadTimeoutError):
        return KubeUnreachable("it sent no data for too long", sent=True)
    refused = isinstance(error, exceptions.NewConnectionError)  # a subclass of ConnectTimeoutError
    if isinstance(error, exceptions.ConnectTimeoutError) and not refused:
        return KubeUnreachable("it does not respond (timeout while connecting)", sent=False)
    text = redact(str(error.args[-1] if error.args else error) or type(error).__name__)
    not_sent = (exceptions.ProxyError, exceptions.SSLError, exceptions.LocationValueError)
    return KubeUnreachable(text, sent=not (refused or isinstance(error, not_sent)))


def _api_error(
    status: int, content: bytes, headers: Mapping[str, str] | None = None
) -> KubeApiError:
    """Translates an error response; the message comes from its `Status` object, if it is one."""
    reason = ""
    message = content[:200].decode(errors="replace")
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        body = json.loads(content)
        body = body.get("object", body)
        message, reason = str(body["message"]), str(body.get("reason") or "")
    retry_after = None
    with suppress(ValueError):
        retry_after = float((headers or {}).get("Retry-After") or "")
    return KubeApiError(status, reason, redact(message), retry_after)
