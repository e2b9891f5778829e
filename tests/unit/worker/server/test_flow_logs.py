from __future__ import annotations

import signal

import pytest

from deployctl.api.calls import Request
from deployctl.core import redact
from deployctl.core.errors import (
    DeployctlError,
    Interrupted,
    Rejected,
    ServerError,
    Unauthorized,
    Unreachable,
)
from deployctl.core.json_values import Json
from deployctl.worker.event_log import Level
from deployctl.worker.server.flow_logs import LINE_SIZE, Buffer, FlowLogs, Line, entry


class Server:
    """Accepts requests, or raises `error`."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.error: DeployctlError | None = None

    def __call__(self, request: Request) -> Json:
        assert (request.method, request.path) == ("POST", "/logs/")
        if self.error is not None:
            raise self.error
        self.messages += [each["message"] for each in request.body]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def logs(server: Server) -> FlowLogs:
    return FlowLogs(server, lambda: 0.0)


def test_a_line_in_the_format_of_the_api() -> None:
    assert entry(Line("r1", Level.WARNING, "careful", 1.5)) == {
        "name": "prefect.flow_runs.worker",
        "level": 30,
        "message": "careful",
        "timestamp": "1970-01-01T00:00:01.500000+00:00",
        "flow_run_id": "r1",
    }


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ("a\0b", "ab"),
        ("a\udcffb", "a?b"),
        ("key swordfish1", f"key {redact.MASK}"),
        ("x" * (LINE_SIZE + 1), "x" * LINE_SIZE + " … (cut)"),
    ],
    ids=["NUL", "surrogate", "secret", "too long"],
)
def test_cleans_and_truncates_messages(message: str, sent: str) -> None:
    redact.register_secrets(["swordfish1"])
    assert entry(Line("r1", Level.INFO, message, 0.0))["message"] == sent


def test_sends_lines_in_order(logs: FlowLogs, server: Server) -> None:
    for number in range(5):
        logs.emit("r1", Level.INFO, str(number))
    assert logs.flush()
    assert server.messages == list("01234")


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("gone"),
        ServerError("busy"),
        Unauthorized("who"),
        Interrupted("stop", signal=signal.SIGTERM),
    ],
    ids=lambda error: type(error).__name__,
)
def test_keeps_lines_while_the_server_is_unavailable(
    logs: FlowLogs, server: Server, error: DeployctlError
) -> None:
    logs.emit("r1", Level.INFO, "one")
    server.error = error
    assert not logs.flush()
    logs.emit("r1", Level.INFO, "two")
    server.error = None
    assert logs.flush()
    assert (server.messages, logs.dropped) == (["one", "two"], 0)


def test_drops_lines_that_the_server_refuses(logs: FlowLogs, server: Server) -> None:
    logs.emit("r1", Level.INFO, "one")
    server.error = Rejected("no")
    assert logs.flush()
    server.error = None
    logs.flush()
    assert (server.messages, logs.dropped) == ([], 1)


def test_sends_nothing_if_logging_to_the_api_is_disabled(server: Server) -> None:
    logs = FlowLogs(server, lambda: 0.0, enabled=False)
    logs.emit("r1", Level.INFO, "one")
    assert logs.flush()
    assert server.messages == []


def item(size: int) -> Json:
    return {"message": "x" * (size - 250)}


def test_a_full_buffer_drops_new_lines_until_it_is_emptied() -> None:
    buffer = Buffer(size=1000)
    for _ in range(3):
        buffer.put(item(400))
    assert buffer.dropped == 1
    assert len(buffer.take()) == 2
    buffer.put(item(1000))
    assert buffer.dropped == 1


def test_a_batch_has_a_maximum_size_and_at_least_one_line() -> None:
    buffer = Buffer(size=10_000, batch=1000)
    for size in (500, 500, 300, 2000, 400):
        buffer.put(item(size))
    sizes = []
    while batch := buffer.take():
        sizes.append([len(each["message"]) + 250 for each in batch])
    assert sizes == [[500, 500], [300], [2000], [400]]
