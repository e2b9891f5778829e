from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from deployctl.api import concurrency as gates
from deployctl.api.calls import Request
from deployctl.api.concurrency import ConcurrencyLimiter
from deployctl.api.session import Session
from deployctl.api.settings import Settings
from deployctl.clients.http import ConnectionOptions, HttpClient
from tests.unit.api.network import API


class Crowd:
    """Sixteen threads that all want something of a server at once, in a time of their own."""

    def __init__(self, width: int, pays: bool) -> None:
        """`pays`: whether the server answers more when more is under way."""
        self.now = 0.0
        self.gate = ConcurrencyLimiter(width, 16, lambda: self.now)
        self.pays = pays
        self.widths: list[int] = []
        self._one_by_one = threading.Lock()

    def ask(self, count: int) -> None:
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda _: self._one(), range(count)))

    def _one(self) -> None:
        with self.gate.passing():
            with self._one_by_one:
                self.widths.append(self.gate.limit)
                self.now += 1 / self.gate.limit if self.pays else 1
            time.sleep(0.002)  # so that the others come to wait
            self.gate.served()


def one(gate: ConcurrencyLimiter, *, served: bool) -> bool:
    with gate.passing() as turn:
        pass
    if served:
        gate.served()
        return False
    return gate.refused(turn)


def test_it_opens_while_that_makes_the_server_answer_more() -> None:
    crowd = Crowd(1, pays=True)
    crowd.ask(120)
    assert crowd.gate.limit >= 4
    assert crowd.widths.index(2) < 20


def test_a_server_that_answers_one_by_one_is_mostly_asked_one_by_one() -> None:
    crowd = Crowd(1, pays=False)
    crowd.ask(300)
    assert crowd.widths.count(1) > 200
    assert set(crowd.widths) == {1, 2}


def test_it_stays_where_nobody_waits() -> None:
    gate = ConcurrencyLimiter(1, 16)
    for _ in range(100):
        one(gate, served=True)
    assert gate.limit == 1


@pytest.mark.parametrize("times", [1, 2, 3])
def test_it_halves_with_every_refusal(times: int) -> None:
    gate = ConcurrencyLimiter(16, 16)
    for _ in range(times):
        assert one(gate, served=False)
    assert gate.limit == 16 >> times


def test_after_a_refusal_it_is_more_patient() -> None:
    crowd = Crowd(2, pays=True)
    assert one(crowd.gate, served=False)
    crowd.ask(60)
    assert 12 <= crowd.widths.index(2) < 30


def test_those_that_were_refused_together_count_once() -> None:
    gate = ConcurrencyLimiter(16, 16)
    with gate.passing() as first, gate.passing() as second, gate.passing() as third:
        assert gate.refused(first)
        assert gate.refused(second)
        assert gate.refused(third)
    assert gate.limit == 8


def test_a_request_that_was_alone_was_not_refused_because_of_others() -> None:
    gate = ConcurrencyLimiter(1, 16)
    assert not one(gate, served=False)
    assert gate.limit == 1


def test_no_more_pass_than_the_limit() -> None:
    gate = ConcurrencyLimiter(1, 1)
    entered = threading.Event()

    def enter() -> None:
        with gate.passing():
            entered.set()

    with gate.passing():
        second = threading.Thread(target=enter)
        second.start()
        assert not entered.wait(0.05)
    second.join(5)
    assert entered.is_set()


def test_a_session_that_waits_for_room_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "_LOOK_SECONDS", 0.001)
    gate, waits = ConcurrencyLimiter(1, 1), threading.Event()

    def wait(_seconds: float) -> bool:
        waits.set()
        return False

    def network(connection: ConnectionOptions) -> HttpClient:
        return HttpClient(connection, transport=httpx.MockTransport(lambda _: httpx.Response(204)))

    session = Session(Settings(api_url=API), writes=gate, wait=wait, network=network)
    write = threading.Thread(target=session.send, args=(Request("POST", "/flows/"),))
    with gate.passing():
        write.start()
        assert waits.wait(30.0)
    write.join()
