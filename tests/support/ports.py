"""Ports that nobody else gets between their choice and their use, or while their user is down."""

from __future__ import annotations

import socket


def held_port(address: str = "127.0.0.1") -> socket.socket:
    """A socket that holds a free port of the address, and never listens.

    Linux lets whoever is told the port listen there as servers do, with SO_REUSEADDR, and gives it
    to nobody who asks for any port. It refuses connections as long as nobody listens.
    """
    port = socket.socket()
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port.bind((address, 0))
    return port
