"""When a worker takes itself for the only one of its name."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deployctl.api.calls import Request
from deployctl.api.session import Session
from deployctl.worker.server.name_watch import NameWatch


class RecordingServer:
    """A server with a record per worker name; the heartbeats of others are scripted."""

    def __init__(self) -> None:
        self.beats = 0
        self.others = 250

    def beat(self) -> None:
        self.beats += 1

    def send(self, request: Request, **_: object) -> Any:
        records = [{"name": f"other-{n}", "last_heartbeat_time": "x"} for n in range(self.others)]
        records.append({"name": "w", "last_heartbeat_time": f"time {self.beats}"})
        start = request.body["offset"]
        return records[start : start + request.body["limit"]]


@pytest.mark.parametrize(
    ("script", "alone"),
    [
        ("....", "FFFT"),
        (".....", "FFFTT"),
        ("..x...", "FFFFFT"),  # a beat of another process before the third
        ("..e....", "FFFFFFT"),  # the third fails
    ],
)
def test_is_alone_after_three_quiet_intervals(script: str, alone: str) -> None:
    server = RecordingServer()
    session, watch = cast(Session, server), NameWatch("pool", "w")

    def fail() -> None:
        raise ConnectionError

    found = ""
    for step in script:
        if step == "x":
            server.beat()
        try:
            is_alone = watch.heartbeat(session, fail if step == "e" else server.beat)
        except ConnectionError:
            is_alone = False
        found += "T" if is_alone else "F"
    assert found == alone


def test_counting_starts_over_after_a_pause() -> None:
    server = RecordingServer()
    session, watch = cast(Session, server), NameWatch("pool", "w")
    for _ in range(4):
        watch.heartbeat(session, server.beat)
    server.beat()
    assert [watch.heartbeat(session, server.beat) for _ in range(4)] == [False, False, False, True]
