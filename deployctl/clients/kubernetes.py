"""The Kubernetes API, JSON in and JSON out, and the only place that knows the kubernetes library.

Of that library only the credentials are used (kubeconfig, service accounts, exec plugins, proxies)
and the urllib3 pool that they configure: both have stayed the same from release 28 to 37, while
the layers above were rewritten twice, and typed models cost 30 MB and refuse manifests that the
API server would take. The price is that paths are written out by the callers.

Whatever goes wrong becomes `KubeApiError` for an answer or `KubeUnreachable` for none.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from deployctl import __version__
from deployctl.core.clock import ServerClock
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.core.redact import redact

if TYPE_CHECKING:
    from kubernetes.client.api_client import ApiClient
    from urllib3 import BaseHTTPResponse

T = TypeVar("T")

PAGE_SIZE = 50
"""Items of one answer of a list: 5,000 Jobs and pods so cost 59 MB at most, not 87 as with 500."""

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
_CHUNK = 64 * 1024
_KEEPALIVE = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4))
"""A peer that is gone is noticed after 40 s, also where a firewall forgets idle connections."""
_RESTARTS = 5
"""How often a list may begin anew because its pages expired."""


class KubeApiError(DeployctlError):
    """The API server answered, and not with what was asked for."""

    code = "DC610"

    def __init__(self, status: int, reason: str, message: str, wait: float | None = None) -> None:
        """`reason` is the API's word (`Forbidden`), `wait` the seconds that it asks to wait."""
        super().__init__(f"the Kubernetes API refused ({status}): {message}")
        self.status = status
        self.reason = reason
        self.detail = message
        self.wait = wait

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may be taken later: overload, faults, stale credentials."""
        return self.status in (401, 408, 429) or self.status >= 500


class KubeUnreachable(DeployctlError):
    """The API server gave no answer."""

    code = "DC611"

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(f"the Kubernetes API gave no answer: {reason}")
        self.sent = sent
        """The request may have been carried out."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All that a list held at one moment."""

    items: list[Any]
    resource_version: str
    """The resource version of that moment, for the watch that goes on from there."""


class Stream:
    """The lines of an answer that does not end by itself. Use it in a `with` statement.

    `abort` ends the iteration from any thread, at once and without an error.
    """

    def __init__(self, response: BaseHTTPResponse) -> None:
        self._response = response
        self._lock = threading.Lock()
        self._over = False

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._over = True
            self._response.close()

    def __iter__(self) -> Iterator[bytes]:
        """Each line without its end; raises KubeUnreachable when the connection breaks."""
        rest = b""
        try:
            for chunk in self._response.stream(_CHUNK, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
        except _network_errors() as error:
            if self._over:
                return
            raise _unreachable(error) from error
        if rest:
            yield rest

    def abort(self) -> None:
        """Ends the iteration: a thread that waits in it wakes up."""
        with self._lock:
            if self._over:
                return
            self._over = True
            with (
                suppress(OSError, ValueError, AttributeError),
                socket.socket(fileno=os.dup(self._response.fileno())) as wire,
            ):
                wire.shutdown(socket.SHUT_RDWR)


class Kube:
    """One cluster, seen with one set of credentials. Many threads may use it."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        """`namespace` is where the one who connects lives: its pod's, or its context's."""
        self.namespace = namespace
        self.source = ""
        """Where its address was found, for people."""
        self._configuration = client.configuration
        self._pool = client.rest_client.pool_manager
        self._pool.connection_pool_kw["socket_options"] = _socket_options()
        self.clock = ServerClock()
        """The cluster's time."""

    @property
    def host(self) -> str:
        """The address of the API server."""
        return str(self._configuration.host).rstrip("/")

    def identity(self) -> bytes:
        """What tells this cluster from others without asking it: its CA, else its address."""
        inline = getattr(self._configuration, "ca_cert_data", None)
        if inline:
            return inline if isinstance(inline, bytes) else str(inline).encode()
        if self._configuration.ssl_ca_cert:
            with suppress(OSError):
                return Path(self._configuration.ssl_ca_cert).read_bytes()
        return self.host.encode()

    def close(self) -> None:
        """Closes the idle connections."""
        self._pool.clear()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json = None,
        timeout: float = _ANSWER_SECONDS,
    ) -> Json:
        """One request, and its answer. `timeout` is the seconds of silence that are borne.

        Raises KubeApiError or KubeUnreachable.
        """
        content = self._read(self._open(method, path, query, body, timeout))
        try:
            return json.loads(content or b"null")
        except ValueError as error:
            raise KubeUnreachable("what came is no JSON", sent=True) from error

    def read_log(self, path: str, query: Mapping[str, str]) -> str:
        """The answer of a GET that is not JSON: a log. Raises as `request` does."""
        return self._read(self._open("GET", path, query)).decode(errors="replace")

    def list_objects(
        self, path: str, selector: str, keep: Callable[[Json], T], limit: int = PAGE_SIZE
    ) -> Listing:
        """All objects that `selector` fits, read in pages of `limit`, each as what `keep` makes.

        They are as they were at one moment. Raises as `request` does.
        """
        for _ in range(_RESTARTS):
            try:
                return self._pages(path, selector, keep, limit)
            except KubeApiError as error:
                if error.status != 410:
                    raise
                expired = error
        raise expired

    def watch(self, path: str, selector: str, version: str, silence: float) -> Stream:
        """Opens the stream of changes since `version`, to be read with `events`.

        `silence`: after how many seconds without a word the connection counts as dead.
        """
        query = {
            "watch": "true",
            "labelSelector": selector,
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
        }
        return Stream(self._open("GET", path, query, timeout=silence))

    def follow_log(self, path: str, query: Mapping[str, str]) -> Stream:
        """Opens a log that goes on, for as long as it does; keepalive notices a dead peer."""
        return Stream(self._open("GET", path, {**query, "follow": "true"}, timeout=None))

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
        timeout: float | None = _ANSWER_SECONDS,
    ) -> BaseHTTPResponse:
        from urllib3 import Timeout

        url = f"{self.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = self._headers()
        if body is not None:
            patch = method == "PATCH"
            headers["Content-Type"] = f"application/{'merge-patch+' if patch else ''}json"
        try:
            response: BaseHTTPResponse = self._pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=Timeout(connect=_CONNECT_SECONDS, read=timeout),
                retries=False,
                preload_content=False,
            )
        except _network_errors() as error:
            raise _unreachable(error) from error
        self.clock.observe(response.headers.get("Date", ""))
        if response.status >= 300:
            raise _refused(response.status, self._read(response), response.headers)
        return response

    def _headers(self) -> dict[str, str]:
        """Credentials are asked for each time: those of a pod change every hour."""
        from kubernetes.config import ConfigException

        headers = {"Accept": "application/json", "User-Agent": f"deployctl/{__version__}"}
        try:
            settings = self._configuration.auth_settings()
        except (ConfigException, OSError, ValueError, KeyError) as error:
            raise KubeUnreachable(
                "the credentials for it cannot be read: " + redact(str(error)), sent=False
            ) from error
        headers |= {each["key"]: each["value"] for each in settings.values() if each["value"]}
        return headers

    @staticmethod
    def _read(response: BaseHTTPResponse) -> bytes:
        """All of an answer, after which its connection is free for the next."""
        try:
            content: bytes = response.read(decode_content=True)
        except _network_errors() as error:
            response.close()
            raise _unreachable(error) from error
        response.release_conn()
        return content


def watch_events(stream: Stream) -> Iterator[tuple[str, Json]]:
    """What a watch tells: ADDED, MODIFIED, DELETED or BOOKMARK, and the object.

    An ERROR, whatever its code, is raised as KubeApiError: the watch is over, and its version may
    be of no use any more. So is a line that is cut off.
    """
    for line in stream:
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError as error:
            raise KubeUnreachable("a watch broke off in mid-line", sent=True) from error
        if event["type"] == "ERROR":
            raise _refused(int(event["object"].get("code") or 500), line)
        yield event["type"], event["object"]


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
    """What urllib3 raises; ValueError and AttributeError are a response closed while being read."""
    from urllib3.exceptions import HTTPError

    return (HTTPError, OSError, ValueError, AttributeError)


def _unreachable(error: Exception) -> KubeUnreachable:
    """The error of a request without an answer, in words of its own where urllib3 has none."""
    from urllib3 import exceptions as known

    if isinstance(error, known.ReadTimeoutError):
        return KubeUnreachable("it was silent for too long", sent=True)
    refused = isinstance(error, known.NewConnectionError)  # which is a ConnectTimeoutError, too
    if isinstance(error, known.ConnectTimeoutError) and not refused:
        return KubeUnreachable("it does not answer (timeout while connecting)", sent=False)
    text = redact(str(error.args[-1] if error.args else error) or type(error).__name__)
    before = (known.ProxyError, known.SSLError, known.LocationValueError)
    return KubeUnreachable(text, sent=not (refused or isinstance(error, before)))


def _refused(status: int, content: bytes, headers: Mapping[str, str] | None = None) -> KubeApiError:
    """The error of an answer: in the words of its `Status` object, if it is one."""
    reason = ""
    message = content[:200].decode(errors="replace")
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        body = json.loads(content)
        body = body.get("object", body)
        message, reason = str(body["message"]), str(body.get("reason") or "")
    wait = None
    with suppress(ValueError):
        wait = float((headers or {}).get("Retry-After") or "")
    return KubeApiError(status, reason, redact(message), wait)
