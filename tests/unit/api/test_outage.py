"""Retries while the server is down: one budget for all requests of a session."""

from __future__ import annotations

from contextlib import suppress

import httpx
import pytest

from deployctl.api.calls import Request
from deployctl.core.errors import ServerError, Unreachable
from tests.unit.api.network import Step, answer, scripted_session

READ = Request("GET", "/flows/1", subject="flow hello")
REFUSED = httpx.ConnectError("refused")
BROKEN = httpx.RemoteProtocolError("Server disconnected without sending a response.")


def test_connection_that_ends_before_the_response_is_repeated_silently() -> None:
    client = scripted_session(answer(200), BROKEN, answer(200, 2), max_retries=0)
    client.session.send(READ)
    assert client.session.send(READ) == 2
    assert (sum(client.waits), client.progress.lines) == (0, [])


def test_requests_share_one_retry_budget() -> None:
    client = scripted_session(answer(200), REFUSED)
    client.session.send(READ)
    for _ in range(1000):
        with pytest.raises(Unreachable):
            client.session.send(READ)
    assert 30 < sum(client.waits) <= 41
    assert client.session.is_down
    assert len(client.network.requests) < 1020
    assert len(client.progress.lines) <= 15


def test_a_server_that_accepts_requests_and_answers_none_is_given_up_after_one_timeout() -> None:
    def freeze(request: httpx.Request) -> httpx.Response:
        client.waits.append(request.extensions["timeout"]["read"])
        raise httpx.ReadTimeout("timed out")

    client = scripted_session(answer(200), freeze)
    client.session.send(READ)
    for _ in range(3):
        with pytest.raises(Unreachable):
            client.session.send(READ)
    assert client.waits == [60, 1, 5] * 3
    assert client.session.is_down


def test_a_request_that_outlasts_the_budget_is_tried_a_second_time() -> None:
    def freeze(request: httpx.Request) -> httpx.Response:
        client.waits.append(request.extensions["timeout"]["read"])
        raise httpx.ReadTimeout("timed out")

    client = scripted_session(answer(200), freeze, answer(200, 7))
    client.session.send(READ)
    assert client.session.send(READ) == 7


def test_one_slow_request_among_others_is_no_outage() -> None:
    def freeze(request: httpx.Request) -> httpx.Response:
        client.waits.append(request.extensions["timeout"]["read"])
        client.session.send(READ)
        raise httpx.ReadTimeout("timed out")

    client = scripted_session(freeze, answer(200), answer(200, 7))
    assert client.session.send(READ) == 7


def test_server_that_answers_again_has_a_new_budget() -> None:
    dead: list[Step] = [REFUSED] * 40
    restarting: list[Step] = [REFUSED] * 4
    client = scripted_session(answer(200), *dead, answer(200), *restarting, answer(200, 7))
    down = []
    for _ in range(60):
        with suppress(Unreachable):
            if client.session.send(READ) == 7:
                break
        down.append(client.session.is_down)
    assert True in down
    assert down[-1] is False


def test_requests_that_fail_among_others_are_no_outage() -> None:
    client = scripted_session(*[answer(500)] * 6, *[answer(200)], *[answer(500)] * 6, answer(200))
    for _ in range(2):
        with pytest.raises(ServerError):
            client.session.send(READ)
        client.session.send(READ)
    assert not client.session.is_down
