"""Retries while the server is down: one budget for all requests of a session."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import httpx
import pytest

from deployctl.api.calls import Request, call
from deployctl.api.driver import run_all
from deployctl.core.cancellation import CancellationToken
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


class FrozenServer:
    """Answers once, then lets each request wait for its timeout, until it `works`."""

    def __init__(self, **settings: Any) -> None:
        self.works = True
        self.client = scripted_session(self._respond, **settings)
        self.client.session.send(READ)
        self.works = False

    def _respond(self, request: httpx.Request) -> httpx.Response:
        if self.works:
            return answer(200, 7)
        self.client.waits.append(request.extensions["timeout"]["read"])
        raise httpx.ReadTimeout("timed out")

    @property
    def sent(self) -> int:
        return len(self.client.network.requests) - 1

    def pass_time(self, seconds: float) -> None:
        self.client.waits.append(seconds)


def test_frozen_server_is_given_up_after_one_long_timeout_and_a_short_one() -> None:
    server = FrozenServer()
    for _ in range(100):
        with pytest.raises(Unreachable, match="no response within 5 s"):
            server.client.session.send(READ)
    assert server.client.waits == [60, 1, 5]
    assert server.client.session.is_down


@pytest.mark.parametrize("request_timeout", [0.5, 3.0, 10.0, 20.0, 35.0])
def test_no_attempt_waits_beyond_the_budget(request_timeout: float) -> None:
    server = FrozenServer(request_timeout=request_timeout)
    for _ in range(100):
        with pytest.raises(Unreachable):
            server.client.session.send(READ)
    assert 30 <= sum(server.client.waits) <= 46
    assert server.client.session.is_down


def test_requests_that_wait_for_a_slot_of_a_frozen_server_are_given_up_together() -> None:
    server = FrozenServer(request_timeout=10.0)
    create = Request("POST", "/deployments/", idempotent=True)
    calls = {number: call(create) for number in range(300)}
    results = run_all(calls, server.client.session)
    errors = [result.error for result in results.values() if result.error]
    assert all(isinstance(error, Unreachable) for error in errors)
    assert len(errors) <= 32
    assert server.sent <= 8


@pytest.mark.parametrize("max_retries", [0, 1])
def test_frozen_server_is_given_up_without_retries(max_retries: int) -> None:
    server = FrozenServer(request_timeout=10.0, max_retries=max_retries)
    for _ in range(100):
        with pytest.raises(Unreachable):
            server.client.session.send(READ)
    assert sum(server.client.waits) <= 30


def test_one_request_a_second_finds_out_whether_the_server_is_back() -> None:
    server = FrozenServer()
    for _ in range(2):
        with pytest.raises(Unreachable):
            server.client.session.send(READ)
    sent = server.sent
    server.works = True
    with pytest.raises(Unreachable):
        server.client.session.send(READ)
    assert server.sent == sent
    server.pass_time(1.0)
    assert server.client.session.send(READ) == 7
    assert not server.client.session.is_down


def test_server_taken_for_dead_may_be_as_slow_as_any() -> None:
    server = FrozenServer()
    for _ in range(2):
        with pytest.raises(Unreachable):
            server.client.session.send(READ)
        server.pass_time(1.0)
    assert server.client.waits == [60, 1, 5, 1, 60, 1]


def test_an_error_without_another_request_for_long_says_nothing_about_later_ones() -> None:
    client = scripted_session(answer(200), answer(500), answer(500), answer(200, 7), max_retries=0)
    client.session.send(READ)
    with pytest.raises(ServerError):
        client.session.send(READ)
    client.waits.append(3600)
    with pytest.raises(ServerError):
        client.session.send(READ)
    assert not client.session.is_down
    assert client.session.send(READ) == 7


def test_a_request_that_outlasts_the_budget_is_tried_a_second_time() -> None:
    server = FrozenServer()

    def thaw(seconds: float) -> bool:
        server.pass_time(seconds)
        server.works = True
        return False

    assert server.client.session.scoped(CancellationToken(), thaw).send(READ) == 7


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
        client.waits.append(1.0)
    assert True in down
    assert down[-1] is False


def test_requests_that_fail_among_others_are_no_outage() -> None:
    client = scripted_session(*[answer(500)] * 6, *[answer(200)], *[answer(500)] * 6, answer(200))
    for _ in range(2):
        with pytest.raises(ServerError):
            client.session.send(READ)
        client.session.send(READ)
    assert not client.session.is_down
