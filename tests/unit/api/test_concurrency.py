"""The adaptive concurrency limit."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from deployctl.api import concurrency
from deployctl.api.calls import Request
from deployctl.api.concurrency import ConcurrencyLimiter
from deployctl.api.session import Session
from deployctl.api.settings import Settings
from deployctl.clients.http import HttpClient, HttpOptions
from tests.unit.api.network import API


class LoadGenerator:
    """Sixteen threads that send requests to a simulated server with a simulated clock."""

    def __init__(self, limit: int, scales: bool) -> None:
        """`scales`: whether throughput grows with the limit."""
        self.now = 0.0
        self.limiter = ConcurrencyLimiter(limit, 16, lambda: self.now)
        self.scales = scales
        self.limits: list[int] = []
        self._lock = threading.Lock()

    def send(self, count: int) -> None:
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda _: self._send_one(), range(count)))

    def _send_one(self) -> None:
        with self.limiter.slot():
            with self._lock:
                self.limits.append(self.limiter.limit)
                self.now += 1 / self.limiter.limit if self.scales else 1
            time.sleep(0.002)  # so that the other threads wait for a slot
            self.limiter.record_success()


def send_one(limiter: ConcurrencyLimiter, *, success: bool) -> bool:
    with limiter.slot() as generation:
        pass
    if success:
        limiter.record_success()
        return False
    return limiter.record_refusal(generation)


def test_raises_limit_while_throughput_grows() -> None:
    load = LoadGenerator(1, scales=True)
    load.send(120)
    assert load.limiter.limit >= 4
    assert load.limits.index(2) < 20


def test_mostly_keeps_limit_1_for_serialising_server() -> None:
    load = LoadGenerator(1, scales=False)
    load.send(300)
    assert load.limits.count(1) > 200
    assert set(load.limits) == {1, 2}


def test_keeps_limit_while_no_thread_waits() -> None:
    limiter = ConcurrencyLimiter(1, 16)
    for _ in range(100):
        send_one(limiter, success=True)
    assert limiter.limit == 1


@pytest.mark.parametrize("times", [1, 2, 3])
def test_refusal_halves_limit(times: int) -> None:
    limiter = ConcurrencyLimiter(16, 16)
    for _ in range(times):
        assert send_one(limiter, success=False)
    assert limiter.limit == 16 >> times


def test_next_trial_is_later_after_refusal() -> None:
    load = LoadGenerator(2, scales=True)
    assert send_one(load.limiter, success=False)
    load.send(60)
    assert 12 <= load.limits.index(2) < 30


def test_concurrent_refusals_count_once() -> None:
    limiter = ConcurrencyLimiter(16, 16)
    with limiter.slot() as first, limiter.slot() as second, limiter.slot() as third:
        assert limiter.record_refusal(first)
        assert limiter.record_refusal(second)
        assert limiter.record_refusal(third)
    assert limiter.limit == 8


def test_refusal_of_lone_request_is_not_our_concurrency() -> None:
    limiter = ConcurrencyLimiter(1, 16)
    assert not send_one(limiter, success=False)
    assert limiter.limit == 1


def test_never_exceeds_limit() -> None:
    limiter = ConcurrencyLimiter(1, 1)
    entered = threading.Event()

    def enter() -> None:
        with limiter.slot():
            entered.set()

    with limiter.slot():
        second = threading.Thread(target=enter)
        second.start()
        assert not entered.wait(0.05)
    second.join(5)
    assert entered.is_set()


def test_session_waiting_for_slot_keeps_calling_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "_WAKE_INTERVAL", 0.001)
    limiter, waits = ConcurrencyLimiter(1, 1), threading.Event()

    def wait(_seconds: float) -> bool:
        waits.set()
        return False

    def network(connection: HttpOptions) -> HttpClient:
        return HttpClient(connection, transport=httpx.MockTransport(lambda _: httpx.Response(204)))

    session = Session(Settings(api_url=API), writes=limiter, wait=wait, network=network)
    write = threading.Thread(target=session.send, args=(Request("POST", "/flows/"),))
    with limiter.slot():
        write.start()
        assert waits.wait(30.0)
    write.join()
