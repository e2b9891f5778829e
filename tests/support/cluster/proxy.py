"""Fault-injecting proxy for a Kubernetes API: accepts plain HTTP, adds TLS and credentials.

A watch or a followed log passes line by line and has the method `WATCH` in `seen` and in faults:
`proxy.answer(403, method="WATCH", path="/pods$")`. Open watches can be broken as well: `say`
inserts a frame, `cut` ends them, and `freeze` silences them without ending them, as a network that
lost a connection.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.support.cluster.api import KubeApi, write_kubeconfig
from tests.support.exchanges import Exchange
from tests.support.proxy import Answer, Handler, Proxy, hang_up
from tests.support.waiting import until


class KubeProxy(Proxy):
    """The proxy in front of `api`, with its credentials; `kubeconfig` points at it."""

    def __init__(self, api: KubeApi, kubeconfig: Path, namespace: str = "default") -> None:
        self._api = api
        self._streams: list[_Stream] = []
        super().__init__(api.url)
        self.kubeconfig = write_kubeconfig(kubeconfig, {"server": self.api_url}, {}, namespace)

    # Open watches; `path` is a regular expression

    def watches(self, path: str = "") -> list[Exchange]:
        """The watches that are open on both sides."""
        return [stream.exchange for stream in self._open_streams(path)]

    def await_watch(self, path: str = "") -> Exchange:
        """Wait until a watch is open; returns the oldest one."""
        return until(lambda: self.watches(path), lambda: f"no watch of {path!r}")[0]

    def say(self, frame: Any, path: str = "") -> int:
        """Send a frame on all open watches; returns their number."""
        return sum(stream.say(frame) for stream in self._open_streams(path))

    def cut(self, path: str = "") -> int:
        """Close the connections of all open watches; returns their number."""
        streams = self._open_streams(path)
        for stream in streams:
            stream.cut()
        return len(streams)

    def freeze(self, path: str = "") -> int:
        """Stop forwarding on the watches that are open now; returns their number."""
        streams = self._open_streams(path)
        for stream in streams:
            stream.frozen = True
        return len(streams)

    def _open_streams(self, path: str) -> list[_Stream]:
        return [each for each in list(self._streams) if re.search(path, each.exchange.path)]

    # What differs from Prefect's API

    def connect(self) -> http.client.HTTPConnection:
        return self._api.connect()

    def credentials(self) -> list[tuple[str, str]]:
        return list(self._api.headers.items())

    def method(self, command: str, query: str) -> str:
        asked = parse_qs(query.lower())  # some clients write True
        lasts = {"1", "true"} & {*asked.get("watch", ()), *asked.get("follow", ())}
        return "WATCH" if command == "GET" and lasts else command

    def pass_on(self, handler: Handler, exchange: Exchange, answer: Answer) -> None:
        if exchange.method != "WATCH" or answer.status != 200:
            super().pass_on(handler, exchange, answer)
            return
        stream = _Stream(handler, exchange, answer)
        stream.open()
        handler.forwarding_done()
        self._streams.append(stream)
        try:
            stream.pump()
        finally:
            self._streams.remove(stream)


class _Stream:
    """One open watch, on its way from the server to the client."""

    def __init__(self, handler: Handler, exchange: Exchange, answer: Answer) -> None:
        self.exchange = exchange
        self.frozen = False
        self._handler = handler
        self._answer = answer
        self._writing = threading.Lock()

    def open(self) -> None:
        """Send the head of the answer."""
        framing = "Transfer-Encoding: chunked"
        self._handler.reply_head(self.exchange, 200, self._answer.headers, framing)
        self._handler.wfile.flush()

    def pump(self) -> None:
        """Forward lines until one side disconnects."""
        self._answer.connection.settimeout(None)
        leaving = threading.Thread(target=self._notice_client_leaving, daemon=True)
        leaving.start()
        try:
            for line in self._answer.response:
                if not self.frozen:
                    self._send(line)
            if not self.frozen:
                self._send(b"")
        finally:
            if not self.frozen:
                hang_up(self._handler.connection)
            leaving.join()

    def say(self, frame: Any) -> bool:
        """Send a frame that is not from the server, unless the client disconnects."""
        try:
            self._send(json.dumps(frame).encode() + b"\n")
        except (OSError, ValueError):  # ValueError: the handler has closed its file
            return False
        return True

    def cut(self) -> None:
        """Close both connections."""
        hang_up(self._handler.connection)
        hang_up(self._answer.connection)

    def _notice_client_leaving(self) -> None:
        try:
            self._handler.wait_until_gone()
        except OSError:
            pass
        finally:
            hang_up(self._answer.connection)

    def _send(self, data: bytes) -> None:
        """Send a chunk; an empty one ends the answer."""
        with self._writing:
            self._handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self._handler.wfile.flush()


def error(code: int, reason: str, message: str = "") -> Any:
    """A frame for `say`: 410 Expired, 500 InternalError, …"""
    about = {"code": code, "reason": reason, "message": message, "status": "Failure"}
    return {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1"} | about}
