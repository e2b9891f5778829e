"""A reverse proxy that writes down what passes and breaks it on demand.

It stands between deployctl and a Prefect server: `with Proxy(server.api_url) as proxy` listens on
`proxy.api_url`. Each request gets a number from 1 on in the order of arrival. Each takes a
connection of its own to the server, which is slower than reuse but never sends anything twice.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

# Not passed on: they concern one connection only (RFC 9110, 7.6.1).
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"}
READING_POST = re.compile(r"/(filter|filter-minimal|count|count_by_state|paginate|history)$")


@dataclass
class Exchange:
    """A request as it came in, and what was answered."""

    number: int
    method: str
    path: str
    """Below the API URL, without the query: `/deployments/filter`."""
    query: str
    headers: dict[str, str]
    """Names in lower case."""
    body: Any
    """Parsed JSON; None where there was none."""
    status: int | None = None
    """None when no answer was given."""
    forwarded: bool = False
    """Whether the server got it."""

    @property
    def writes(self) -> bool:
        """Whether it can have changed something on the server."""
        reads = self.method == "POST" and READING_POST.search(self.path)
        return self.method != "GET" and not reads


@dataclass
class Fault:
    """What to do instead of passing a request on and its answer back."""

    act: Literal["answer", "drop", "refuse", "delay"]
    method: str | None
    path: re.Pattern[str]
    times: int | None
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    seconds: float = 0.0

    def matches(self, exchange: Exchange) -> bool:
        return (
            self.times != 0
            and self.method in {None, exchange.method}
            and self.path.search(exchange.path) is not None
        )


class Proxy:
    """The proxy in front of `api_url`, a context manager."""

    def __init__(self, api_url: str) -> None:
        self._target = urlsplit(api_url)
        self._lock = threading.Lock()
        self._quiet = threading.Condition(self._lock)
        self._under_way = 0
        self._faults: list[Fault] = []
        self._last: int | None = None
        self._last_is_answered = True
        self._open: set[socket.socket] = set()
        self.exchanges: list[Exchange] = []
        self._listen(0)

    # What passed

    @property
    def writes(self) -> list[Exchange]:
        """The requests that can have changed something on the server."""
        return [exchange for exchange in list(self.exchanges) if exchange.writes]

    def seen(self, method: str | None = None, path: str = "") -> list[Exchange]:
        """The requests of this method whose path contains the pattern `path`."""
        return [
            exchange
            for exchange in list(self.exchanges)
            if method in {None, exchange.method} and re.search(path, exchange.path)
        ]

    def clear(self) -> None:
        """Forgets what passed and every fault, counts from 1 again, and listens again.

        Before that it waits for what is on its way to the server: nobody's request arrives late.
        """
        with self._quiet:
            self._quiet.wait_for(lambda: not self._under_way, timeout=60)
            self.exchanges, self._faults, self._last = [], [], None
        if self._stopped:
            try:
                self._listen(self.port)
            except OSError:  # somebody has taken the port meanwhile
                self._listen(0)

    # What to break; `path` is a regular expression, `times=None` means for ever

    def answer(
        self,
        status: int,
        *,
        method: str | None = None,
        path: str = "",
        times: int | None = 1,
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> None:
        """Answers with `status` without asking the server."""
        self._break("answer", method, path, times, status=status, headers=headers or {}, body=body)

    def drop_answer(
        self, *, method: str | None = None, path: str = "", times: int | None = 1
    ) -> None:
        """Lets the server carry the request out and closes the connection instead of answering."""
        self._break("drop", method, path, times)

    def refuse(self, *, method: str | None = None, path: str = "", times: int | None = 1) -> None:
        """Closes the connection; the server never gets the request."""
        self._break("refuse", method, path, times)

    def delay(
        self, seconds: float, *, method: str | None = None, path: str = "", times: int | None = 1
    ) -> None:
        """Waits before the request is passed on."""
        self._break("delay", method, path, times, seconds=seconds)

    def stop_after(self, number: int, *, answer_last: bool = True) -> None:
        """Passes on `number` requests counted from the first or the last `clear`, then is gone.

        Later connections are refused and open ones closed. With `answer_last=False` the last
        request is carried out by the server but its answer is lost. Others that are under way at
        that moment lose their answers, too, as they do when a process or a server dies.
        """
        with self._lock:
            self._last, self._last_is_answered = number, answer_last
        if number <= len(self.exchanges):
            self._vanish()

    def _break(
        self,
        act: Literal["answer", "drop", "refuse", "delay"],
        method: str | None,
        path: str,
        times: int | None,
        **details: Any,
    ) -> None:
        with self._lock:
            self._faults.append(Fault(act, method, re.compile(path), times, **details))

    # Listening

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._vanish()

    def _listen(self, port: int) -> None:
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = _Server(("127.0.0.1", port), Handler)
        self._stopped = False
        self.port: int = self._server.server_address[1]
        self.api_url = f"http://127.0.0.1:{self.port}{self._target.path}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def _vanish(self) -> None:
        """Stops listening and closes every connection."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            connections = list(self._open)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in connections:
            _hang_up(connection)

    # One request

    def _admit(self, exchange: Exchange) -> tuple[list[Fault], bool] | None:
        """Numbers and records a request; gives its faults and whether it is the last one.

        None means that this proxy is as good as gone.
        """
        with self._lock:
            if self._last is not None and len(self.exchanges) >= self._last:
                return None
            self._under_way += 1
            self.exchanges.append(exchange)
            exchange.number = len(self.exchanges)
            faults = self._due(exchange)
            return faults, exchange.number == self._last

    def _due(self, exchange: Exchange) -> list[Fault]:
        """The delays that match and the first other fault; uses each up by one."""
        due: list[Fault] = []
        for fault in self._faults:
            if not fault.matches(exchange):
                continue
            if fault.times is not None:
                fault.times -= 1
            due.append(fault)
            if fault.act != "delay":
                break
        return due

    def _forward(
        self, exchange: Exchange, raw: bytes, headers: list[tuple[str, str]]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        target = self._target
        upstream = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
        try:
            path = f"{target.path}{exchange.path}"
            url = f"{path}?{exchange.query}" if exchange.query else path
            upstream.putrequest(exchange.method, url, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                upstream.putheader(name, value)
            upstream.putheader("Connection", "close")
            upstream.endheaders(raw)
            exchange.forwarded = True
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of what is tested."""


class _Handler(BaseHTTPRequestHandler):
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
        """Tests look at `exchanges`."""

    def handle_any(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.removeprefix(self.owner._target.path).partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        exchange = Exchange(0, self.command, path, query, headers, _parsed(raw))
        admitted = self.owner._admit(exchange)
        self.close_connection = True
        if admitted is None:
            return
        faults, is_last = admitted
        try:
            self.answer(exchange, raw, faults, lost=is_last and not self.owner._last_is_answered)
        finally:
            if is_last:
                self.owner._vanish()
            with self.owner._quiet:
                self.owner._under_way -= 1
                self.owner._quiet.notify_all()

    def answer(self, exchange: Exchange, raw: bytes, faults: list[Fault], *, lost: bool) -> None:
        for fault in faults:
            time.sleep(fault.seconds)
        act = faults[-1].act if faults else None
        if act == "refuse":
            return
        if act == "answer":
            body = json.dumps(faults[-1].body).encode()
            typed = {"Content-Type": "application/json"} | faults[-1].headers
            self.reply(exchange, faults[-1].status, list(typed.items()), body)
            return
        kept = [(n, v) for n, v in self.headers.items() if n.lower() not in HOP_BY_HOP]
        try:
            status, headers, body = self.owner._forward(exchange, raw, kept)
        except (OSError, http.client.HTTPException):
            return
        if act != "drop" and not lost:
            self.reply(exchange, status, headers, body)

    def reply(
        self, exchange: Exchange, status: int, headers: list[tuple[str, str]], body: bytes
    ) -> None:
        exchange.status = status
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = False

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return raw.decode(errors="replace")


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
