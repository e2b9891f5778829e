"""What an answer means for its request: is it done, tried again, or over. Pure.

| status                      | may be repeated | must not be repeated     |
|-----------------------------|-----------------|--------------------------|
| below 400                   | done            | done                     |
| 404 where `missing_ok`      | done            | done                     |
| 403 about CSRF              | new token       | new token                |
| 429, 503                    | busy            | busy: it was not begun   |
| 408, 500 and above          | again           | lost                     |
| 4xx in RETRY_EXTRA_CODES    | again           | again: it was refused    |
| any other                   | over            | over                     |
| none, and it was not sent   | again           | again                    |
| none, and it may have come  | again           | lost                     |
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import Enum, auto

from deployctl.api.calls import Request
from deployctl.clients.http import NoResponse, Response
from deployctl.core.retry import parse_retry_after


class RetryDecision(Enum):
    """What to do next."""

    DONE = auto()
    TOKEN = auto()
    """Get a CSRF token and send it again."""
    BUSY = auto()
    """The server declined to begin; send it again when there is room."""
    AGAIN = auto()
    LOST = auto()
    """Nobody knows whether it was carried out."""
    OVER = auto()


def classify(
    request: Request, result: Response | NoResponse, extra_codes: Collection[int] = ()
) -> RetryDecision:
    """The table above; `extra_codes` are further statuses that the user wants to be retried."""
    uncertain = RetryDecision.AGAIN if request.idempotent else RetryDecision.LOST
    if isinstance(result, NoResponse):
        if result.permanent:
            return RetryDecision.OVER
        return uncertain if result.sent else RetryDecision.AGAIN
    status = result.status
    if status < 400 and not result.is_html:
        return RetryDecision.DONE
    if status == 404 and request.missing_ok and not result.is_html:
        return RetryDecision.DONE
    if status == 403 and "CSRF token" in str(result.body):
        return RetryDecision.TOKEN
    if status in (429, 503):
        return RetryDecision.BUSY
    if status == 408 or status >= 500:
        return uncertain
    return RetryDecision.AGAIN if status in extra_codes else RetryDecision.OVER


def under_maintenance(answer: Response) -> bool:
    """Whether the server asks everybody to wait, however long it takes."""
    return answer.headers.get("prefect-maintenance") == "true"


def retry_after(answer: Response, now: datetime) -> float | None:
    """Seconds that the server wants us to wait: `Retry-After` as a number or as a date."""
    return parse_retry_after(answer.headers.get("retry-after", ""), now)
