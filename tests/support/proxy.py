"""Fault-injecting reverse proxy that records every request.

It stands between deployctl and a Prefect server: `with Proxy(server.api_url) as proxy` listens on
`proxy.api_url`. Requests are numbered from 1 in the order of arrival. Each opens a connection of
its own to the server, which is slower than reuse but never sends anything twice.
`cluster/proxy.py` extends it for Kubernetes.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, Unpack
from urllib.parse import urlsplit

from tests.support.exchanges import Exchange, Fault, Where
from tests.support.ports import held_port

# Not forwarded: they concern one connection only (RFC 9110, 7.6.1).
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"}


class Proxy:
    """A proxy in front of `api_url`; a context manager."""

    def __init__(self, api_url: str) -> None:
        self._target = urlsplit(api_url)
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._in_flight = 0
        self._faults: list[Fault] = []
        self._last: int | None = None
        self._last_is_answered = True
        self._open: set[socket.socket] = set()
        self.exchanges: list[Exchange] = []
        self._held = held_port()
        self.port: int = self._held.getsockname()[1]
        self.api_url = f"http://127.0.0.1:{self.port}{self._target.path}"
        self._listen()

    # Recorded exchanges

    @property
    def writes(self) -> list[Exchange]:
        """The requests that may have changed something on the server."""
        return [exchange for exchange in list(self.exchanges) if exchange.writes]

    def seen(self, method: str | None = None, path: str = "") -> list[Exchange]:
        """Return the requests of a method whose path matches the regular expression `path`."""
        return [
            exchange
            for exchange in list(self.exchanges)
            if method in {None, exchange.method} and re.search(path, exchange.path)
        ]

    def clear(self) -> None:
        """Delete all exchanges and faults, count from 1 again, and listen again if stopped.

        First waits for requests in flight, so that none reaches the server later.
        """
        with self._idle:
            self._idle.wait_for(lambda: not self._in_flight, timeout=60)
            self.exchanges, self._faults, self._last = [], [], None
        if self._stopped:
            self._listen()

    # Faults

    def answer(
        self,
        status: int,
        *,
        headers: dict[str, str] | None = None,
        body: Any = None,
        **where: Unpack[Where],
    ) -> None:
        """Answer with `status` instead of forwarding the request."""
        self._break(Fault("answer", where, status=status, headers=headers or {}, body=body))

    def drop_answer(self, status: int = 0, **where: Unpack[Where]) -> None:
        """Forward the request, but answer with `status`, or not at all."""
        self._break(Fault("drop", where, status=status))

    def refuse(self, **where: Unpack[Where]) -> None:
        """Close the connection without forwarding the request."""
        self._break(Fault("refuse", where))

    def hang(self, **where: Unpack[Where]) -> None:
        """Keep the connection open without forwarding the request or answering."""
        self._break(Fault("hang", where))

    def delay(self, seconds: float, **where: Unpack[Where]) -> threading.Event:
        """Wait before forwarding the request. Setting the returned event ends the wait."""
        fault = Fault("delay", where, seconds=seconds)
        self._break(fault)
        return fault.over

    def stop_after(self, number: int, *, answer_last: bool = True) -> None:
        """Forward `number` requests, counted from the start or the last `clear`, then stop.

        Later connections are refused and open ones closed. With `answer_last=False` the last
        request reaches the server but its answer is lost. Other requests in flight at that moment
        lose their answers too, as when a process or a server dies.
        """
        with self._lock:
            self._last, self._last_is_answered = number, answer_last
        if number <= len(self.exchanges):
            self._shut_down()

    @property
    def pending(self) -> int:
        """The number of faults that have not affected all the requests they are for."""
        with self._lock:
            return sum(fault.where.get("times", 1) != 0 for fault in self._faults)

    def _break(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    # Listening

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shut_down()
        self._held.close()

    def _listen(self) -> None:
        proxy = self

        class Own(Handler):
            owner = proxy

        self._server = _Server(("127.0.0.1", self.port), Own)
        self._stopped = False
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def _shut_down(self) -> None:
        """Stop listening and close every connection."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            connections = list(self._open)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in connections:
            hang_up(connection)

    # One request

    def _admit(self, exchange: Exchange) -> tuple[list[Fault], bool] | None:
        """Number and record a request; return its faults and whether it is the last one.

        Returns None if the last request was admitted before.
        """
        with self._lock:
            if self._last is not None and len(self.exchanges) >= self._last:
                return None
            self._in_flight += 1
            self.exchanges.append(exchange)
            exchange.number = len(self.exchanges)
            faults = self._due(exchange)
            return faults, exchange.number == self._last

    def _due(self, exchange: Exchange) -> list[Fault]:
        """Return the matching delays and the first other matching fault, and count their use."""
        due: list[Fault] = []
        for fault in self._faults:
            if fault.take(exchange):
                due.append(fault)
                if fault.act != "delay":
                    break
        return due

    def _request_done(self) -> None:
        with self._idle:
            self._in_flight -= 1
            self._idle.notify_all()

    # Overridden for other kinds of servers

    def connect(self) -> http.client.HTTPConnection:
        """Return a new connection to the server."""
        return http.client.HTTPConnection(
            self._target.hostname or "", self._target.port, timeout=60
        )

    def credentials(self) -> list[tuple[str, str]]:
        """Return headers to add to each request."""
        return []

    def method(self, command: str, query: str) -> str:  # noqa: ARG002
        """Return the method of a request for faults and `seen`."""
        return command

    def pass_on(self, handler: Handler, exchange: Exchange, answer: Answer) -> None:
        """Send the server's answer to the client."""
        handler.reply(exchange, answer.status, answer.headers, answer.response.read())

    @contextmanager
    def _forward(self, handler: Handler, exchange: Exchange, raw: bytes) -> Iterator[Answer]:
        upstream = self.connect()
        try:
            upstream.putrequest(
                handler.command, handler.path, skip_host=True, skip_accept_encoding=True
            )
            kept = [(n, v) for n, v in handler.headers.items() if n.lower() not in HOP_BY_HOP]
            for name, value in [*kept, *self.credentials(), ("Connection", "close")]:
                upstream.putheader(name, value)
            upstream.endheaders(raw)
            exchange.forwarded = True
            connection = upstream.sock
            with upstream.getresponse() as response:
                yield Answer(response, connection)
        finally:
            upstream.close()


@dataclass
class Answer:
    """The server's response; the body may not have been read."""

    response: http.client.HTTPResponse
    connection: socket.socket

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def headers(self) -> list[tuple[str, str]]:
        return self.response.getheaders()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect: tests do that on purpose."""


class Handler(BaseHTTPRequestHandler):
    """Handles the requests of one connection for its proxy."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    owner: Proxy

    def setup(self) -> None:
        super().setup()
        with self.owner._lock:
            self.owner._open.add(self.connection)

    def finish(self) -> None:
        with self.owner._lock:
            self.owner._open.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: tests read `exchanges`."""

    def handle_any(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.removeprefix(self.owner._target.path).partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        method = self.owner.method(self.command, query)
        exchange = Exchange(0, method, path, query, headers, _parsed(raw))
        admitted = self.owner._admit(exchange)
        self.close_connection = True
        if admitted is None:
            return
        faults, is_last = admitted
        self._in_flight = True
        try:
            self.answer(exchange, raw, faults, lost=is_last and not self.owner._last_is_answered)
        except (OSError, http.client.HTTPException):
            return
        finally:
            if is_last:
                self.owner._shut_down()
            self.forwarding_done()

    def forwarding_done(self) -> None:
        """Mark that nothing more reaches the server, even if the answer is still being sent."""
        if self._in_flight:
            self._in_flight = False
            self.owner._request_done()

    def answer(self, exchange: Exchange, raw: bytes, faults: list[Fault], *, lost: bool) -> None:
        for fault in faults:
            fault.over.wait(fault.seconds)
        act = faults[-1].act if faults else None
        if act == "refuse":
            return
        if act == "hang":
            self.forwarding_done()
            self.wait_until_gone()
            return
        if act == "answer":
            body = json.dumps(faults[-1].body).encode()
            typed = {"Content-Type": "application/json"} | faults[-1].headers
            self.reply(exchange, faults[-1].status, list(typed.items()), body)
            return
        with self.owner._forward(self, exchange, raw) as answer:
            if act == "drop" or lost:
                answer.response.read()
                if faults and faults[-1].status and not lost:
                    self.reply(exchange, faults[-1].status, [], b"null")
            else:
                self.owner.pass_on(self, exchange, answer)

    def wait_until_gone(self) -> None:
        """Return when the client or this proxy has closed the connection."""
        self.connection.recv(1)

    def reply_head(
        self, exchange: Exchange, status: int, headers: list[tuple[str, str]], framing: str
    ) -> None:
        """Send status and headers; the `framing` header says where the body ends."""
        exchange.status = status
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        if framing:
            self.send_header(*framing.split(": "))
        self.end_headers()

    def reply(
        self, exchange: Exchange, status: int, headers: list[tuple[str, str]], body: bytes
    ) -> None:
        framing = "" if status == 204 else f"Content-Length: {len(body)}"
        self.reply_head(exchange, status, headers, framing)
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = False

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return raw.decode(errors="replace")


def hang_up(connection: socket.socket) -> None:
    """Shut down a connection, encrypted or not, while other threads may use it."""
    try:
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return
