"""HTTP server for probes and Prometheus: `/health`, `/ready`, `/metrics`.

It is up before the worker has reached its server or cluster. `/health` fails only for what a
restart cures, `/ready` for everything that keeps runs from starting. There is no authentication:
nothing shown is secret, and a slow client blocks one thread for a few seconds at most.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Self, TypeAlias

from deployctl.core.errors import DeployctlError
from deployctl.core.redact import redact
from deployctl.worker.error_kinds import log_internal_error
from deployctl.worker.event_log import EventLog
from deployctl.worker.health.health_state import (
    CombinedHealth,
    HealthMonitor,
    liveness_failure,
    readiness_failures,
)

Pages: TypeAlias = Mapping[str, Callable[[], tuple[int, str, bytes]]]
"""Path → function that returns status, content type and body."""

_JSON = "application/json"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class NoPort(DeployctlError):
    """The health server cannot listen on its address."""

    code = "DC680"


class PageServer:
    """Context manager that serves pages in a thread of its own."""

    def __init__(
        self,
        host: str,
        port: int,
        pages: Pages,
        event_log: EventLog,
        help: str,  # noqa: A002
    ) -> None:
        """Binds `host` (IPv4, IPv6 or a name) and `port` (0: any free port).

        `help`: how to choose others. Raises NoPort.
        """
        try:
            self._server = _Server(host, port, pages, event_log)
        except OSError as error:
            raise NoPort(
                f"the HTTP server cannot listen on '{host}', port {port}: {error.strerror}",
                help=help,
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class HealthServer(PageServer):
    """Serves the three pages of a worker."""

    def __init__(
        self,
        host: str,
        port: int,
        monitor: HealthMonitor | CombinedHealth,
        metrics: Callable[[], bytes],
        event_log: EventLog,
    ) -> None:
        """Takes what PageServer takes, and raises what it raises."""
        pages: Pages = {
            "/health": lambda: _health(monitor),
            "/ready": lambda: _ready(monitor),
            "/metrics": lambda: metrics_page(metrics()),
        }
        help_ = (
            "Choose another with PREFECT_WORKER_WEBSERVER_HOST and "
            "PREFECT_WORKER_WEBSERVER_PORT, or leave --with-healthcheck out."
        )
        super().__init__(host, port, pages, event_log, help_)


def metrics_page(text: bytes) -> tuple[int, str, bytes]:
    """The page with this text in Prometheus' format."""
    return 200, _TEXT, text


def _health(monitor: HealthMonitor | CombinedHealth) -> tuple[int, str, bytes]:
    failure = liveness_failure(monitor.state(), monitor.clock())
    return _json_page(503 if failure else 200, {"message": redact(failure) or "OK"})


def _ready(monitor: HealthMonitor | CombinedHealth) -> tuple[int, str, bytes]:
    failures = readiness_failures(monitor.state(), monitor.clock())
    if not failures:
        return _json_page(200, {"message": "OK"})
    shown = {name: redact(reason) for name, reason in failures.items()}
    return _json_page(503, {"message": "not ready: " + ", ".join(shown), "faults": shown})


def _json_page(status: int, body: Any) -> tuple[int, str, bytes]:
    return status, _JSON, json.dumps(body, ensure_ascii=False).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, pages: Pages, event_log: EventLog) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        self.pages = pages
        self.event_log = event_log
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Binds without the reverse DNS lookup of `HTTPServer`, which can take a minute."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that disconnect in the middle of a response."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 5
    server: _Server

    def do_GET(self) -> None:
        """Sends the page of the requested path."""
        status, kind, body = self._page()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _page(self) -> tuple[int, str, bytes]:
        path = self.path.partition("?")[0]
        page = self.server.pages.get(path)
        if page is None:
            return _json_page(404, {"message": "available: " + ", ".join(self.server.pages)})
        try:
            return page()
        except Exception as error:
            log_internal_error(self.server.event_log, error, f"the page '{path}'")
            return _json_page(500, {"message": f"internal error: {type(error).__name__}"})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Logs nothing: probes come every few seconds."""
