from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deployctl.api.talk import Request
from deployctl.api.verdict import Verdict, judge, retry_after
from deployctl.clients.http import Answer, NoAnswer

AGAIN_AND_AGAIN = Request("GET", "/x")
ONCE = Request("POST", "/x", repeat=False)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def said(status: int, body: object = None, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


@pytest.mark.parametrize(
    ("result", "repeated", "once"),
    [
        (said(200), Verdict.DONE, Verdict.DONE),
        (said(201), Verdict.DONE, Verdict.DONE),
        (said(200, content_type="text/html; charset=utf-8"), Verdict.OVER, Verdict.OVER),
        (said(403, {"detail": "Missing CSRF token."}), Verdict.TOKEN, Verdict.TOKEN),
        (said(403, {"detail": "no"}), Verdict.OVER, Verdict.OVER),
        (said(429), Verdict.BUSY, Verdict.BUSY),
        (said(503), Verdict.BUSY, Verdict.BUSY),
        (said(408), Verdict.AGAIN, Verdict.LOST),
        (said(500), Verdict.AGAIN, Verdict.LOST),
        (said(502), Verdict.AGAIN, Verdict.LOST),
        (said(504), Verdict.AGAIN, Verdict.LOST),
        (said(400), Verdict.OVER, Verdict.OVER),
        (said(404), Verdict.OVER, Verdict.OVER),
        (said(423), Verdict.AGAIN, Verdict.AGAIN),
        (NoAnswer("", sent=False), Verdict.AGAIN, Verdict.AGAIN),
        (NoAnswer("", sent=True), Verdict.AGAIN, Verdict.LOST),
        (NoAnswer("", sent=False, hopeless=True), Verdict.OVER, Verdict.OVER),
    ],
)
def test_what_an_answer_means(result: Answer | NoAnswer, repeated: Verdict, once: Verdict) -> None:
    assert judge(AGAIN_AND_AGAIN, result, {423}) is repeated
    assert judge(ONCE, result, {423}) is once


@pytest.mark.parametrize("codes", [(), (404,)])
def test_missing_is_done_where_the_request_says_so(codes: tuple[int, ...]) -> None:
    assert judge(Request("GET", "/x", missing_ok=True), said(404), codes) is Verdict.DONE


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
