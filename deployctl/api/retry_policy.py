"""Decides what a response means for its request: done, retry or error. Pure.

| status                        | idempotent | not idempotent               |
|-------------------------------|------------|------------------------------|
| below 400                     | done       | done                         |
| 404 with `missing_ok`         | done       | done                         |
| 403 about CSRF                | new token  | new token                    |
| 429, 503                      | overloaded | overloaded: it didn't start  |
| 408, 500 and above            | retry      | lost                         |
| 4xx in RETRY_EXTRA_CODES      | retry      | retry: it was rejected       |
| any other                     | error      | error                        |
| no response, request not sent | retry      | retry                        |
| no response, maybe received   | retry      | lost                         |
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import Enum, auto

from deployctl.api.calls import Request
from deployctl.clients.http import NoResponse, Response
from deployctl.core.retry import parse_retry_after


class RetryDecision(Enum):
    """What to do after a response."""

    DONE = auto()
    RENEW_TOKEN = auto()
    """Fetch a CSRF token and send the request again."""
    OVERLOADED = auto()
    """The server did not start on the request; send it again with less concurrency."""
    RETRY = auto()
    LOST = auto()
    """The request may have been carried out and must not be repeated blindly."""
    ERROR = auto()


def classify(
    request: Request, result: Response | NoResponse, extra_codes: Collection[int] = ()
) -> RetryDecision:
    """Applies the table above; `extra_codes` are further statuses that the user wants retried."""
    uncertain = RetryDecision.RETRY if request.idempotent else RetryDecision.LOST
    if isinstance(result, NoResponse):
        if result.permanent:
            return RetryDecision.ERROR
        return uncertain if result.sent else RetryDecision.RETRY
    status = result.status
    if status < 400 and not result.is_html:
        return RetryDecision.DONE
    if status == 404 and request.missing_ok and not result.is_html:
        return RetryDecision.DONE
    if status == 403 and "CSRF token" in str(result.body):
        return RetryDecision.RENEW_TOKEN
    if status in (429, 503):
        return RetryDecision.OVERLOADED
    if status == 408 or status >= 500:
        return uncertain
    return RetryDecision.RETRY if status in extra_codes else RetryDecision.ERROR


def under_maintenance(response: Response) -> bool:
    """Whether the server announces maintenance (`Prefect-Maintenance: true`)."""
    return response.headers.get("prefect-maintenance") == "true"


def retry_after(response: Response, now: datetime) -> float | None:
    """Seconds that the server's `Retry-After` header asks to wait; None without one."""
    return parse_retry_after(response.headers.get("retry-after", ""), now)
