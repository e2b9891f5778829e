"""Log streams of pods, with broken connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from deployctl.clients.kubernetes import KubeApiError, KubeClient, KubeUnreachable, Listing
from deployctl.worker.model import LinePrinted, RuntimeUpdate
from deployctl.worker.runtimes.kubernetes.pod_logs import LogStreamer, last_pod_lines
from deployctl.worker.runtimes.kubernetes.status import pod_status
from tests.support.waiting import until
from tests.unit.worker.runtimes.kubernetes.objects import pod

FIRST, SECOND = "2026-01-01T00:00:07.000000001Z", "2026-01-01T00:00:07.000000002Z"


class BreakingCluster:
    """A cluster whose connection breaks after one line and whose node is down for a moment then.

    It applies `sinceTime` with a precision of seconds.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []

    @contextmanager
    def follow_log(self, _path: str, query: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        self.asked.append(query["sinceTime"])
        yield self._lines(len(self.asked))

    @staticmethod
    def _lines(asked: int) -> Iterator[bytes]:
        if asked == 2:
            raise KubeApiError(500, "InternalError", "dial tcp: connection refused")
        yield f"{FIRST} one".encode()
        if asked == 1:
            raise KubeUnreachable("the connection broke", sent=True)
        yield f"{SECOND} two".encode()


def test_broken_log_stream_resumes() -> None:
    printed: list[RuntimeUpdate] = []
    cluster = BreakingCluster()
    status = pod_status(pod("Running"))
    LogStreamer(printed.append, 5.0, reconnect_interval=0.0).add(cast(KubeClient, cluster), status)
    until(lambda: len(printed) == 2, lambda: str(printed))

    assert printed == [LinePrinted(status.attempt, "one"), LinePrinted(status.attempt, "two")]
    assert cluster.asked == ["1970-01-01T00:00:05Z", FIRST, FIRST]


class LargeLog:
    """A cluster with one pod that printed 500 lines of a megabyte; it honours `limitBytes`."""

    def __init__(self) -> None:
        self.sent = 0

    def list_objects(self, *_: object) -> Listing:
        return Listing([pod_status(pod("Failed"))], "1")

    def read_log(self, _path: str, query: Mapping[str, str]) -> str:
        lines = (f"{number} ".ljust(1_000_000, "x") for number in range(500))
        text = "\n".join([*lines][-int(query["tailLines"]) :])[: int(query["limitBytes"])]
        self.sent += len(text)
        return text


def test_last_lines_of_a_pod_have_a_byte_limit() -> None:
    cluster = LargeLog()
    (line,) = last_pod_lines(cast(KubeClient, cluster), "ns", "", 500)
    assert line.startswith("499 ")
    assert max(len(line), cluster.sent) < 4_000_000
