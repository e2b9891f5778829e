from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deployctl.api.calls import Request
from deployctl.api.retry_policy import RetryDecision, classify, retry_after
from deployctl.clients.http import NoResponse, Response

AGAIN_AND_AGAIN = Request("GET", "/x")
ONCE = Request("POST", "/x", idempotent=False)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def said(status: int, body: object = None, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


@pytest.mark.parametrize(
    ("result", "repeated", "once"),
    [
        (said(200), RetryDecision.DONE, RetryDecision.DONE),
        (said(201), RetryDecision.DONE, RetryDecision.DONE),
        (
            said(200, content_type="text/html; charset=utf-8"),
            RetryDecision.OVER,
            RetryDecision.OVER,
        ),
        (said(403, {"detail": "Missing CSRF token."}), RetryDecision.TOKEN, RetryDecision.TOKEN),
        (said(403, {"detail": "no"}), RetryDecision.OVER, RetryDecision.OVER),
        (said(429), RetryDecision.BUSY, RetryDecision.BUSY),
        (said(503), RetryDecision.BUSY, RetryDecision.BUSY),
        (said(408), RetryDecision.AGAIN, RetryDecision.LOST),
        (said(500), RetryDecision.AGAIN, RetryDecision.LOST),
        (said(502), RetryDecision.AGAIN, RetryDecision.LOST),
        (said(504), RetryDecision.AGAIN, RetryDecision.LOST),
        (said(400), RetryDecision.OVER, RetryDecision.OVER),
        (said(404), RetryDecision.OVER, RetryDecision.OVER),
        (said(423), RetryDecision.AGAIN, RetryDecision.AGAIN),
        (NoResponse("", sent=False), RetryDecision.AGAIN, RetryDecision.AGAIN),
        (NoResponse("", sent=True), RetryDecision.AGAIN, RetryDecision.LOST),
        (NoResponse("", sent=False, permanent=True), RetryDecision.OVER, RetryDecision.OVER),
    ],
)
def test_what_an_answer_means(
    result: Response | NoResponse, repeated: RetryDecision, once: RetryDecision
) -> None:
    assert classify(AGAIN_AND_AGAIN, result, {423}) is repeated
    assert classify(ONCE, result, {423}) is once


@pytest.mark.parametrize("codes", [(), (404,)])
def test_missing_is_done_where_the_request_says_so(codes: tuple[int, ...]) -> None:
    assert classify(Request("GET", "/x", missing_ok=True), said(404), codes) is RetryDecision.DONE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("3", 3.0),
        ("2.5", 2.5),
        ("-4", 0.0),
        ("nan", None),
        ("inf", 300.0),
        ("86400", 300.0),
        ("soon", None),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 12:00:30 -0000", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
    ],
)
def test_how_long_the_server_wants_us_to_wait(text: str, seconds: float | None) -> None:
    assert retry_after(said(503, retry_after=text), NOON) == seconds
