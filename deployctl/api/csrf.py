"""The token that a server with CSRF protection wants on every request but GET.

Most servers want none, so nobody asks for one until a server refuses a request for lack of it;
nor is a token renewed before the server says that it is too old.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping

from deployctl.api.calls import Request
from deployctl.core.errors import NotFound, Rejected
from deployctl.core.json_values import Json


class Csrf:
    """The token of one session, shared by its threads."""

    def __init__(self, enabled: bool, send: Callable[[Request], Json]) -> None:
        """`send` gives the answer to a request, or raises an ApiError."""
        self._enabled = enabled
        self._send = send
        self._client = str(uuid.uuid4())
        self._token: str | None = None
        self._lock = threading.Lock()

    def headers(self) -> Mapping[str, str]:
        """What to send with a request that may change something; empty without a token."""
        if self._token is None:
            return {}
        return {"Prefect-Csrf-Token": self._token, "Prefect-Csrf-Client": self._client}

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Gets a token after one (or none) was refused; threads that lost the same share one.

        Gives whether there is another to try: not where support is switched off, and not where
        the server has none to give (404 and 422: what refused the request was something else).
        Raises what sending raises.
        """
        if not self._enabled:
            return False
        with self._lock:
            if self.headers() == refused:
                path = f"/csrf-token?client={self._client}"
                try:
                    answer = self._send(Request("GET", path, subject="the CSRF token"))
                except (NotFound, Rejected):
                    return False
                self._token = str(answer["token"])
            return True
