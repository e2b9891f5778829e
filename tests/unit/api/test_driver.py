from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.driver import CallResult, run, run_all
from deployctl.core.errors import Interrupted, NotFound
from deployctl.core.json_values import Json
from tests.unit.api.network import answer, bench


def echo(request: httpx.Request) -> httpx.Response:
    path = request.url.path.removeprefix("/api")
    return answer(404, {"detail": "no"}) if "missing" in path else answer(200, path)


def get(path: str) -> Request:
    return Request("GET", path)


def chain(*paths: str) -> ApiCall[list[Json]]:
    said = []
    for path in paths:
        said.append((yield from call(get(path))))
    return said


def test_the_answers_of_a_batch_come_in_its_order() -> None:
    def talk() -> ApiCall[list[Json]]:
        return list((yield [get(f"/{number}") for number in range(50)]))

    assert run(talk(), bench(echo).session) == [f"/{number}" for number in range(50)]


def test_a_batch_is_sent_side_by_side() -> None:
    together = threading.Barrier(8, timeout=10)

    def meet(_request: httpx.Request) -> httpx.Response:
        together.wait()
        return answer(200)

    def talk() -> ApiCall[int]:
        return len((yield [get(f"/{number}") for number in range(8)]))

    assert run(talk(), bench(meet).session) == 8


def test_a_talk_that_asks_nothing() -> None:
    def talk() -> ApiCall[int]:
        answers = yield []
        return len(answers)

    assert run(talk(), bench(echo).session) == 0
    assert run_all({"a": talk()}, bench(echo).session) == {"a": CallResult(0)}


def test_an_error_is_thrown_into_the_talk_which_may_go_on() -> None:
    def talk() -> ApiCall[Json]:
        try:
            yield [get("/1"), get("/missing"), get("/2")]
        except NotFound:
            return (yield from call(get("/instead")))

    assert run(talk(), bench(echo).session) == "/instead"


def test_an_error_that_the_talk_does_not_catch_is_raised() -> None:
    with pytest.raises(NotFound):
        run(chain("/1", "/missing"), bench(echo).session)


def test_a_stop_ends_a_single_talk_before_its_next_request() -> None:
    on = bench(echo)

    def talk() -> ApiCall[None]:
        yield [get("/1")]
        on.session.cancellation.cancel()
        yield [get("/2")]

    with pytest.raises(Interrupted):
        run(talk(), on.session)
    assert len(on.network.seen) == 1


def test_talks_are_apart_from_each_other() -> None:
    done: list[Any] = []
    talks = {name: chain(f"/{name}/1", f"/{name}/2") for name in ("a", "missing", "b")}
    outcomes = run_all(talks, bench(echo).session, lambda key, _outcome: done.append(key))
    assert list(outcomes) == ["a", "missing", "b"]
    assert outcomes["a"] == CallResult(["/a/1", "/a/2"])
    assert outcomes["b"].ok
    assert isinstance(outcomes["missing"].error, NotFound)
    assert not outcomes["missing"].ok
    assert sorted(done) == ["a", "b", "missing"]


def test_many_more_talks_than_threads() -> None:
    talks = {number: chain(f"/{number}", "/x") for number in range(200)}
    outcomes = run_all(talks, bench(echo).session)
    assert [outcomes[number].value for number in range(200)] == [
        [f"/{number}", "/x"] for number in range(200)
    ]


def test_after_a_stop_talks_under_way_are_finished_and_none_begins() -> None:
    on = bench(echo)
    on.session.concurrency = 2

    def stopping() -> ApiCall[str]:
        yield [get("/1")]
        on.session.cancellation.cancel()
        yield [get("/2")]
        return "whole"

    talks: dict[str, ApiCall[Any]] = {
        "first": stopping(),
        "later": chain("/3"),
        "last": chain("/4"),
    }
    outcomes = run_all(talks, on.session)
    assert outcomes["first"] == CallResult("whole")
    assert not outcomes["last"].started
    assert not outcomes["last"].ok


def test_a_stop_before_the_first_starts_nothing() -> None:
    on = bench(echo)
    on.session.cancellation.cancel()
    outcomes = run_all({"a": chain("/1"), "b": chain("/2")}, on.session)
    assert [outcome.started for outcome in outcomes.values()] == [False, False]
    assert on.network.seen == []


def test_a_defect_is_not_hidden() -> None:
    def broken() -> ApiCall[None]:
        yield [get("/1")]
        raise KeyError("defect")

    with pytest.raises(KeyError):
        run_all({"a": broken()}, bench(echo).session)
