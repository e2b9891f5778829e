from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from deployctl.core import redact
from deployctl.worker.health.exporter import Exporter
from deployctl.worker.health.health_state import HealthMonitor, Loop
from deployctl.worker.health.http_server import HealthServer, NoPort
from deployctl.worker.health.metrics import Metrics
from tests.support.kubernetes_jobs import RecordingEventLog


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def monitor(clock: Clock) -> HealthMonitor:
    return HealthMonitor(clock)


@pytest.fixture
def notes() -> RecordingEventLog:
    return RecordingEventLog()


@pytest.fixture
def server(monitor: HealthMonitor) -> Iterator[HealthServer]:
    exporter = Exporter(lambda: 0.0)
    exporter.pools = {"pool": Metrics(monitor)}
    with HealthServer("127.0.0.1", 0, monitor, exporter.text, RecordingEventLog()) as server:
        yield server


def get(server: HealthServer, path: str, host: str = "127.0.0.1") -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(host, server.port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers["content-type"], answer.read()
    finally:
        connection.close()


def page(server: HealthServer, path: str) -> tuple[int, Any]:
    status, kind, body = get(server, path)
    assert kind == "application/json"
    return status, json.loads(body)


OK = (200, {"message": "OK"})


def test_a_healthy_worker_answers_as_prefects_does(
    server: HealthServer, monitor: HealthMonitor
) -> None:
    monitor.heartbeat(Loop.POLL)
    assert page(server, "/health") == OK
    assert page(server, "/ready") == OK


def test_liveness_fails_only_for_a_silent_loop(
    server: HealthServer, monitor: HealthMonitor, clock: Clock
) -> None:
    monitor.heartbeat(Loop.POLL, 10)
    monitor.set_fault("authentication", "the server does not accept these credentials")
    assert page(server, "/health") == OK
    clock.now += 311
    silent = "the loop 'poll' has been silent for 311 s"
    assert page(server, "/health") == (503, {"message": silent})
    monitor.heartbeat(Loop.POLL, 10)
    assert page(server, "/health") == OK


def test_ready_names_faults_without_secrets(server: HealthServer, monitor: HealthMonitor) -> None:
    redact.register_secrets(["swordfish-7"])
    monitor.set_fault("api", "http://user:pw@host does not take swordfish-7")
    monitor.set_fault("pool", "it was deleted")
    assert page(server, "/ready") == (
        503,
        {
            "message": "not ready: api, pool",
            "faults": {
                "api": f"http://{redact.MASK}@host does not take {redact.MASK}",
                "pool": "it was deleted",
            },
        },
    )


def test_serves_metrics(server: HealthServer) -> None:
    status, kind, body = get(server, "/metrics?x=1")
    assert status == 200
    assert kind.startswith("text/plain; version=0.0.4")
    assert b'deployctl_worker_up{pool="pool"} 1.0' in body


def test_unknown_pages_list_the_known_ones(server: HealthServer) -> None:
    assert page(server, "/") == (404, {"message": "available: /health, /ready, /metrics"})


def test_an_internal_error_of_a_page_is_answered_and_logged(
    monitor: HealthMonitor, notes: RecordingEventLog
) -> None:
    def broken() -> bytes:
        raise ZeroDivisionError

    with HealthServer("127.0.0.1", 0, monitor, broken, notes) as server:
        assert page(server, "/metrics")[0] == 500
        assert page(server, "/health") == OK
    assert [event for _, event, _ in notes.entries] == ["worker.internal_error"]


def test_a_silent_client_delays_no_others(server: HealthServer) -> None:
    with (
        socket.create_connection(("127.0.0.1", server.port)) as silent,
        socket.create_connection(("127.0.0.1", server.port)) as broken,
    ):
        broken.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        broken.close()
        silent.sendall(b"GET /hea")
        assert page(server, "/health") == OK


def test_a_port_in_use_is_a_clear_error(
    server: HealthServer, monitor: HealthMonitor, notes: RecordingEventLog
) -> None:
    with pytest.raises(NoPort, match=rf"'127.0.0.1', port {server.port}: Address already in use"):
        HealthServer("127.0.0.1", server.port, monitor, bytes, notes)


def test_a_foreign_address_is_a_clear_error(
    monitor: HealthMonitor, notes: RecordingEventLog
) -> None:
    with pytest.raises(NoPort, match="Cannot assign requested address"):
        HealthServer("192.0.2.1", 0, monitor, bytes, notes)


def test_the_port_is_free_again_afterwards(
    monitor: HealthMonitor, notes: RecordingEventLog
) -> None:
    with HealthServer("127.0.0.1", 0, monitor, bytes, notes) as first:
        port = first.port
    with HealthServer("127.0.0.1", port, monitor, bytes, notes) as second:
        assert page(second, "/health") == OK
    with pytest.raises(OSError, match="refused"):
        get(second, "/health")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_it_listens_on_ipv6(monitor: HealthMonitor, notes: RecordingEventLog) -> None:
    with HealthServer("::1", 0, monitor, bytes, notes) as server:
        assert get(server, "/health", "::1")[0] == 200
