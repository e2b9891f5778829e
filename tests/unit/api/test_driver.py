"""Drivers of API calls."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from deployctl.api import driver
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.driver import CallResult, run, run_all
from deployctl.core.errors import Interrupted, NotFound, Unreachable
from deployctl.core.json_values import Json
from tests.unit.api.network import answer, scripted_session


def echo(request: httpx.Request) -> httpx.Response:
    path = request.url.path.removeprefix("/api")
    return answer(404, {"detail": "no"}) if "missing" in path else answer(200, path)


def get(path: str) -> Request:
    return Request("GET", path)


def chain(*paths: str) -> ApiCall[list[Json]]:
    responses = []
    for path in paths:
        responses.append((yield from call(get(path))))
    return responses


def test_responses_are_in_order_of_batch() -> None:
    def steps() -> ApiCall[list[Json]]:
        return list((yield [get(f"/{number}") for number in range(50)]))

    assert run(steps(), scripted_session(echo).session) == [f"/{number}" for number in range(50)]


def test_sends_batch_in_parallel() -> None:
    barrier = threading.Barrier(8, timeout=10)

    def respond(_request: httpx.Request) -> httpx.Response:
        barrier.wait()
        return answer(200)

    def steps() -> ApiCall[int]:
        return len((yield [get(f"/{number}") for number in range(8)]))

    assert run(steps(), scripted_session(respond).session) == 8


def test_call_with_empty_batch() -> None:
    def steps() -> ApiCall[int]:
        answers = yield []
        return len(answers)

    assert run(steps(), scripted_session(echo).session) == 0
    assert run_all({"a": steps()}, scripted_session(echo).session) == {"a": CallResult(0)}


def test_call_can_handle_an_error() -> None:
    def steps() -> ApiCall[Json]:
        try:
            yield [get("/1"), get("/missing"), get("/2")]
        except NotFound:
            return (yield from call(get("/instead")))

    assert run(steps(), scripted_session(echo).session) == "/instead"


def test_raises_unhandled_error() -> None:
    with pytest.raises(NotFound):
        run(chain("/1", "/missing"), scripted_session(echo).session)


def test_cancellation_ends_single_call_before_next_request() -> None:
    client = scripted_session(echo)

    def steps() -> ApiCall[None]:
        yield [get("/1")]
        client.session.cancellation.cancel()
        yield [get("/2")]

    with pytest.raises(Interrupted):
        run(steps(), client.session)
    assert len(client.network.requests) == 1


def test_calls_fail_independently() -> None:
    done: list[Any] = []
    calls = {name: chain(f"/{name}/1", f"/{name}/2") for name in ("a", "missing", "b")}
    results = run_all(calls, scripted_session(echo).session, lambda key, _result: done.append(key))
    assert list(results) == ["a", "missing", "b"]
    assert results["a"] == CallResult(["/a/1", "/a/2"])
    assert results["b"].ok
    assert isinstance(results["missing"].error, NotFound)
    assert not results["missing"].ok
    assert sorted(done) == ["a", "b", "missing"]


def test_more_calls_than_threads() -> None:
    calls = {number: chain(f"/{number}", "/x") for number in range(200)}
    results = run_all(calls, scripted_session(echo).session)
    assert [results[number].value for number in range(200)] == [
        [f"/{number}", "/x"] for number in range(200)
    ]


def test_cancellation_completes_running_calls_and_starts_none() -> None:
    client = scripted_session(echo)
    client.session.concurrency = 1

    def cancelling() -> ApiCall[str]:
        yield [get("/1")]
        client.session.cancellation.cancel()
        yield [get("/2")]
        return "whole"

    calls: dict[str, ApiCall[Any]] = {
        "first": cancelling(),
        "later": chain("/3"),
    }
    results = run_all(calls, client.session)
    assert results["first"] == CallResult("whole")
    assert not results["later"].started
    assert not results["later"].ok


class SilentServer:
    """Answers only when `thawed`; each request to it cancels the session."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(driver, "_POLL_INTERVAL", 0.01)
        self.thawed = threading.Event()
        self.client = scripted_session(self._respond)
        self.client.session.concurrency = 2

    def _respond(self, _request: httpx.Request) -> httpx.Response:
        self.client.session.cancellation.cancel()
        self.thawed.wait()
        return answer(200, "late")


def test_cancelled_calls_are_left_if_the_server_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SilentServer(monkeypatch)
    calls = {number: chain("/1", "/2") for number in range(4)}
    results = run_all(calls, server.client.session)
    server.thawed.set()
    error = results[0].error
    assert isinstance(error, Unreachable)
    assert error.was_sent
    assert [results[number].started for number in (2, 3)] == [False, False]
    assert server.client.session.is_down


def test_cancelled_call_is_left_if_the_server_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SilentServer(monkeypatch)
    with pytest.raises(Interrupted):
        run(chain("/1", "/2"), server.client.session)
    server.thawed.set()


def test_cancelled_session_starts_no_call() -> None:
    client = scripted_session(echo)
    client.session.cancellation.cancel()
    results = run_all({"a": chain("/1"), "b": chain("/2")}, client.session)
    assert [result.started for result in results.values()] == [False, False]
    assert client.network.requests == []


def test_no_call_is_started_when_the_server_is_down() -> None:
    client = scripted_session(answer(200), httpx.ConnectError("refused"))
    client.session.concurrency = 4
    client.session.send(get("/first"))
    results = run_all({number: chain(f"/{number}") for number in range(200)}, client.session)
    failed = [result for result in results.values() if isinstance(result.error, Unreachable)]
    assert 1 <= len(failed) <= 12
    assert sum(not result.started for result in results.values()) == 200 - len(failed)
    assert len(client.network.requests) < 60


def test_defect_propagates() -> None:
    def broken() -> ApiCall[None]:
        yield [get("/1")]
        raise KeyError("defect")

    with pytest.raises(KeyError):
        run_all({"a": broken()}, scripted_session(echo).session)
