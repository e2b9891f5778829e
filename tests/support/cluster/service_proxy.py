"""The Service `kubernetes` for the pods of a node, in place of kube-proxy."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

from tests.support.cluster.control_plane import LOOPBACK, SERVICE


class ServiceProxy(ThreadingTCPServer):
    """Relays what the pods of one bridge send to the Service to the API server.

    Only connections through that bridge are accepted, so that each node has its own Service at the
    same address. The bridge must have the address.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, bridge: str, api_port: int) -> None:
        super().__init__((SERVICE, 443), _Relay, bind_and_activate=False)
        self.target = (LOOPBACK, api_port)
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
        with socket.create_connection(self.server.target) as upstream:
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
