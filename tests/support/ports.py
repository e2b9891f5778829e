"""Reserved ports: no other program gets them before they are used or while their user is down."""

from __future__ import annotations

import socket


def held_port(address: str = "127.0.0.1") -> socket.socket:
    """Return a socket that is bound to a free port and never listens.

    Linux lets a server with SO_REUSEADDR listen on that port, but does not give it to programs that
    ask for any free port. Connections are refused while no server listens.
    """
    port = socket.socket()
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port.bind((address, 0))
    return port
