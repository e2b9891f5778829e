"""The token that a server with CSRF protection expects on every request but GET.

Most servers don't use CSRF protection. So a token is requested only after the server has rejected a
request for lack of one, and renewed only after the server has rejected it as expired.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping

from deployctl.api.calls import Request
from deployctl.core.errors import NotFound, Rejected
from deployctl.core.json_values import Json


class CsrfToken:
    """The CSRF token of one session, shared by its threads."""

    def __init__(self, enabled: bool, send: Callable[[Request], Json]) -> None:
        """`send` returns the response to a request, or raises an ApiError."""
        self._enabled = enabled
        self._send = send
        self._client = str(uuid.uuid4())
        self._token: str | None = None
        self._lock = threading.Lock()

    def headers(self) -> Mapping[str, str]:
        """The headers of a request that may change something; empty without a token."""
        if self._token is None:
            return {}
        return {"Prefect-Csrf-Token": self._token, "Prefect-Csrf-Client": self._client}

    def renew(self, rejected: Mapping[str, str]) -> bool:
        """Fetches a token after the headers `rejected` were refused; returns whether to try again.

        Threads whose requests carried the same token share the new one. False if CSRF support is
        disabled, or if the server has no token to give (404 and 422): the request was rejected for
        another reason then. Raises what sending raises.
        """
        if not self._enabled:
            return False
        with self._lock:
            if self.headers() == rejected:
                path = f"/csrf-token?client={self._client}"
                try:
                    response = self._send(Request("GET", path, subject="the CSRF token"))
                except (NotFound, Rejected):
                    return False
                self._token = str(response["token"])
            return True
