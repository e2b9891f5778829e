"""A port of a Service for the pods of a node, in place of kube-proxy."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

Address = tuple[str, int]
"""IP address and port."""


class ServiceProxy(ThreadingTCPServer):
    """Relays what the pods of one bridge send to the Service to one of its endpoints.

    Only connections through that bridge are accepted, so that each node has its own Services at the
    same addresses. The bridge must have the address.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, bridge: str, address: Address, endpoints: Callable[[], Sequence[Address]]
    ) -> None:
        super().__init__(address, _Relay, bind_and_activate=False)
        self.endpoints = endpoints
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bridge.encode())
            self.server_bind()
            self.server_activate()
        except BaseException:
            self.server_close()
            raise
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Accept no more connections."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report nothing: pods and the API server end while connections are open."""


class _Relay(BaseRequestHandler):
    server: ServiceProxy

    def handle(self) -> None:
        endpoint = random.choice(self.server.endpoints())
        with socket.create_connection(endpoint) as upstream:
            back = threading.Thread(target=_copy, args=(upstream, self.request), daemon=True)
            back.start()
            _copy(self.request, upstream)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes until the source ends, and end the target."""
    with suppress(OSError):
        while content := source.recv(2**16):
            target.sendall(content)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
