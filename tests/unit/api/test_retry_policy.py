"""Decisions about retries."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deployctl.api.calls import Request
from deployctl.api.retry_policy import RetryDecision, classify, retry_after
from deployctl.clients.http import NoResponse, Response

IDEMPOTENT = Request("GET", "/x")
NOT_IDEMPOTENT = Request("POST", "/x", idempotent=False)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def response(status: int, body: object = None, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


@pytest.mark.parametrize(
    ("result", "idempotent", "not_idempotent"),
    [
        (response(200), RetryDecision.DONE, RetryDecision.DONE),
        (response(201), RetryDecision.DONE, RetryDecision.DONE),
        (
            response(200, content_type="text/html; charset=utf-8"),
            RetryDecision.ERROR,
            RetryDecision.ERROR,
        ),
        (
            response(403, {"detail": "Missing CSRF token."}),
            RetryDecision.RENEW_TOKEN,
            RetryDecision.RENEW_TOKEN,
        ),
        (response(403, {"detail": "no"}), RetryDecision.ERROR, RetryDecision.ERROR),
        (response(429), RetryDecision.OVERLOADED, RetryDecision.OVERLOADED),
        (response(503), RetryDecision.OVERLOADED, RetryDecision.OVERLOADED),
        (response(408), RetryDecision.RETRY, RetryDecision.LOST),
        (response(500), RetryDecision.RETRY, RetryDecision.LOST),
        (response(502), RetryDecision.RETRY, RetryDecision.LOST),
        (response(504), RetryDecision.RETRY, RetryDecision.LOST),
        (response(400), RetryDecision.ERROR, RetryDecision.ERROR),
        (response(404), RetryDecision.ERROR, RetryDecision.ERROR),
        (response(423), RetryDecision.RETRY, RetryDecision.RETRY),
        (NoResponse("", sent=False), RetryDecision.RETRY, RetryDecision.RETRY),
        (NoResponse("", sent=True), RetryDecision.RETRY, RetryDecision.LOST),
        (NoResponse("", sent=False, permanent=True), RetryDecision.ERROR, RetryDecision.ERROR),
    ],
)
def test_classifies_responses(
    result: Response | NoResponse, idempotent: RetryDecision, not_idempotent: RetryDecision
) -> None:
    assert classify(IDEMPOTENT, result, {423}) is idempotent
    assert classify(NOT_IDEMPOTENT, result, {423}) is not_idempotent


@pytest.mark.parametrize("codes", [(), (404,)])
def test_404_is_done_with_missing_ok(codes: tuple[int, ...]) -> None:
    assert (
        classify(Request("GET", "/x", missing_ok=True), response(404), codes) is RetryDecision.DONE
    )


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
def test_reads_retry_after_header(text: str, seconds: float | None) -> None:
    assert retry_after(response(503, retry_after=text), NOON) == seconds
