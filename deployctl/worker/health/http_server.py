"""Answers probes and Prometheus over HTTP, from the first moment of a worker on.

`/health` turns red only for what a restart cures, `/ready` for all that keeps runs from starting.
Anyone who reaches the port may read; nothing that is shown is secret, and a slow reader holds one
thread for a few seconds at most.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, TypeAlias

from deployctl.core.errors import DeployctlError
from deployctl.core.redact import redact
from deployctl.worker.health.health_state import HealthMonitor, liveness_failure, readiness_failures

Pages: TypeAlias = Mapping[str, Callable[[], tuple[int, str, bytes]]]
"""Path → what gives its status, content type and content."""

_JSON = "application/json"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class NoPort(DeployctlError):
    """The health server cannot listen where it should."""

    code = "DC680"


class HealthServer:
    """Serves `/health`, `/ready` and `/metrics` while its `with` statement runs."""

    def __init__(
        self, host: str, port: int, monitor: HealthMonitor, metrics: Callable[[], bytes]
    ) -> None:
        """Listens on `host` (IPv4, IPv6 or a name) and `port` (0: a free one). Raises NoPort."""
        pages: Pages = {
            "/health": lambda: _health(monitor),
            "/ready": lambda: _ready(monitor),
            "/metrics": lambda: (200, _TEXT, metrics()),
        }
        try:
            self._server = _Server(host, port, pages)
        except OSError as error:
            raise NoPort(
                f"the health server cannot listen on '{host}', port {port}: {error.strerror}",
                help="Choose another with PREFECT_WORKER_WEBSERVER_HOST and "
                "PREFECT_WORKER_WEBSERVER_PORT, or leave --with-healthcheck out.",
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )

    def __enter__(self) -> HealthServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _health(monitor: HealthMonitor) -> tuple[int, str, bytes]:
    ill = liveness_failure(monitor.vitals(), monitor.clock())
    return _said(503 if ill else 200, {"message": redact(ill) or "OK"})


def _ready(monitor: HealthMonitor) -> tuple[int, str, bytes]:
    faults = readiness_failures(monitor.vitals(), monitor.clock())
    if not faults:
        return _said(200, {"message": "OK"})
    shown = {name: redact(reason) for name, reason in faults.items()}
    return _said(503, {"message": "not ready: " + ", ".join(shown), "faults": shown})


def _said(status: int, body: Any) -> tuple[int, str, bytes]:
    return status, _JSON, json.dumps(body, ensure_ascii=False).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        self.pages = pages
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Does not ask DNS for the host's name, as the library would; that can take a minute."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that goes away in the middle is nobody's problem."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 5
    server: _Server

    def do_GET(self) -> None:
        """Answers with a page."""
        status, kind, body = self._page()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _page(self) -> tuple[int, str, bytes]:
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            return _said(404, {"message": "there are " + ", ".join(self.server.pages)})
        try:
            return page()
        except Exception as error:
            return _said(500, {"message": f"a defect of deployctl: {type(error).__name__}"})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Probes come every few seconds: nobody wants to read of them."""
