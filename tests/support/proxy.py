"""A reverse proxy that writes down what passes and breaks it on demand.

It stands between deployctl and a Prefect server: `with Proxy(server.api_url) as proxy` listens on
`proxy.api_url`. Each request gets a number from 1 on in the order of arrival. Each takes a
connection of its own to the server, which is slower than reuse but never sends anything twice.
`cluster/proxy.py` makes one for Kubernetes out of it.
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

# Not passed on: they concern one connection only (RFC 9110, 7.6.1).
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"}


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
        self._held = held_port()
        self.port: int = self._held.getsockname()[1]
        self.api_url = f"http://127.0.0.1:{self.port}{self._target.path}"
        self._listen()

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
            self._listen()

    # What to break

    def answer(
        self,
        status: int,
        *,
        headers: dict[str, str] | None = None,
        body: Any = None,
        **where: Unpack[Where],
    ) -> None:
        """Answers with `status` without asking the server."""
        self._break(Fault("answer", where, status=status, headers=headers or {}, body=body))

    def drop_answer(self, status: int = 0, **where: Unpack[Where]) -> None:
        """Lets the server carry the request out; the answer is `status`, or none at all."""
        self._break(Fault("drop", where, status=status))

    def refuse(self, **where: Unpack[Where]) -> None:
        """Closes the connection; the server never gets the request."""
        self._break(Fault("refuse", where))

    def hang(self, **where: Unpack[Where]) -> None:
        """Keeps the connection open and never answers; the server never gets the request."""
        self._break(Fault("hang", where))

    def delay(self, seconds: float, **where: Unpack[Where]) -> threading.Event:
        """Waits before the request is passed on; whoever sets the event ends that."""
        fault = Fault("delay", where, seconds=seconds)
        self._break(fault)
        return fault.over

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

    @property
    def pending(self) -> int:
        """How many faults have not met all the requests that they are for."""
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
        self._vanish()
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
            hang_up(connection)

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
            if fault.take(exchange):
                due.append(fault)
                if fault.act != "delay":
                    break
        return due

    def _under_way_no_more(self) -> None:
        with self._quiet:
            self._under_way -= 1
            self._quiet.notify_all()

    # What another kind of server needs otherwise

    def connect(self) -> http.client.HTTPConnection:
        """A new connection to the server."""
        return http.client.HTTPConnection(
            self._target.hostname or "", self._target.port, timeout=60
        )

    def credentials(self) -> list[tuple[str, str]]:
        """The headers that the client does not send itself."""
        return []

    def method(self, command: str, query: str) -> str:  # noqa: ARG002
        """What kind of request it is, as faults and `seen` name it."""
        return command

    def pass_on(self, handler: Handler, exchange: Exchange, answer: Answer) -> None:
        """Gives the server's answer to the client."""
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
    """What the server answers, as far as it has come."""

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
        """A client that went away is part of what is tested."""


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection as its owner wants it."""

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
        method = self.owner.method(self.command, query)
        exchange = Exchange(0, method, path, query, headers, _parsed(raw))
        admitted = self.owner._admit(exchange)
        self.close_connection = True
        if admitted is None:
            return
        faults, is_last = admitted
        self._is_under_way = True
        try:
            self.answer(exchange, raw, faults, lost=is_last and not self.owner._last_is_answered)
        except (OSError, http.client.HTTPException):
            return
        finally:
            if is_last:
                self.owner._vanish()
            self.decided()

    def decided(self) -> None:
        """Nothing more will reach the server, even where the answer lasts longer."""
        if self._is_under_way:
            self._is_under_way = False
            self.owner._under_way_no_more()

    def answer(self, exchange: Exchange, raw: bytes, faults: list[Fault], *, lost: bool) -> None:
        for fault in faults:
            fault.over.wait(fault.seconds)
        act = faults[-1].act if faults else None
        if act == "refuse":
            return
        if act == "hang":
            self.decided()
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
        """Returns when the client, or this proxy, has closed the connection."""
        self.connection.recv(1)

    def reply_head(
        self, exchange: Exchange, status: int, headers: list[tuple[str, str]], framing: str
    ) -> None:
        """Sends the head of an answer whose `framing` header says where its body ends."""
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
    """Ends a connection, encrypted or not, under the hands of whoever reads from it or writes."""
    try:
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return
