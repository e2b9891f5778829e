"""Lines of the worker in the logs of flow runs, under the logger that Prefect's worker uses.

A log is decoration: it never holds up a run, so a line is put into a buffer of bounded size, and
sent when somebody calls `flush`. While the server is away lines wait; when the buffer is full new
ones are lost, and counted. A batch whose answer is lost is sent again: a line that stands there
twice is better than one that is missing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from deployctl.api import paths
from deployctl.api.calls import Request
from deployctl.core.errors import (
    DeployctlError,
    Interrupted,
    ServerError,
    Unauthorized,
    Unreachable,
)
from deployctl.core.json_values import Json
from deployctl.core.redact import redact
from deployctl.worker.event_log import Level

LOGGER = "prefect.flow_runs.worker"
EVERY = 2.0
"""Seconds between batches, as with Prefect."""
LINE_SIZE = 1_000_000
BATCH_SIZE = 4_000_000
"""The most that a line and a batch may have (PREFECT_LOGGING_TO_API_MAX_LOG_SIZE, _BATCH_SIZE), in
characters here, with room for what JSON adds."""
BUFFER_SIZE = 8_000_000
"""Characters that may wait to be sent: a few crashed runs with all their last lines."""

_NUMBERS = {Level.DEBUG: 10, Level.INFO: 20, Level.WARNING: 30, Level.ERROR: 40}
_FRAME = 250
"""Characters of an entry beside its message."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line for the log of a flow run."""

    run: str
    level: Level
    message: str
    time: float
    """Seconds of the epoch."""


def entry(line: Line) -> Json:
    """A line as `POST /logs/` takes it: without secrets, without what a database refuses (NUL and
    lone surrogates), and cut where it is too long."""
    message = redact(line.message).replace("\0", "").encode("utf-8", "replace").decode()
    if len(message) > LINE_SIZE:
        message = message[:LINE_SIZE] + " … (cut)"
    return {
        "name": LOGGER,
        "level": _NUMBERS[line.level],
        "message": message,
        "timestamp": datetime.fromtimestamp(line.time, UTC).isoformat(),
        "flow_run_id": line.run,
    }


class Buffer:
    """Entries that wait, in order; used by many threads."""

    def __init__(self, size: int = BUFFER_SIZE, batch: int = BATCH_SIZE) -> None:
        self.lost = 0
        """How many entries there was no room for."""
        self._entries: deque[Json] = deque()
        self._room = size
        self._batch = batch
        self._lock = threading.Lock()

    def put(self, item: Json) -> None:
        """Adds an entry at the end, or counts it as lost."""
        with self._lock:
            if _size(item) > self._room:
                self.lost += 1
            else:
                self._room -= _size(item)
                self._entries.append(item)

    def take(self) -> list[Json]:
        """Removes as many entries from the front as make a batch, at least one if there is any."""
        with self._lock:
            batch: list[Json] = []
            left = self._batch
            while self._entries and (not batch or _size(self._entries[0]) <= left):
                item = self._entries.popleft()
                self._room += _size(item)
                left -= _size(item)
                batch.append(item)
            return batch

    def give_back(self, batch: list[Json]) -> None:
        """Puts a batch that was not sent in front again."""
        with self._lock:
            self._entries.extendleft(reversed(batch))
            self._room -= sum(map(_size, batch))

    def lose(self, count: int) -> None:
        """Counts entries that will never be sent."""
        with self._lock:
            self.lost += count


class FlowLogs:
    """The way of lines to the server.

    `send` sends a request and raises as `Session.send` does; `clock` gives seconds of the epoch;
    `enabled` is PREFECT_LOGGING_TO_API_ENABLED: where it is off, lines go nowhere.
    """

    def __init__(
        self, send: Callable[[Request], Json], clock: Callable[[], float], *, enabled: bool = True
    ) -> None:
        self._send = send
        self._clock = clock
        self._enabled = enabled
        self._buffer = Buffer()

    @property
    def lost(self) -> int:
        """How many lines did not reach the server, and never will."""
        return self._buffer.lost

    def emit(self, run: str, level: Level, message: str) -> None:
        """Adds a line to the log of the run with this id; from any thread, without waiting."""
        if self._enabled:
            self._buffer.put(entry(Line(run, level, message, self._clock())))

    def flush(self) -> bool:
        """Sends what waits; gives whether nothing is left.

        Batches that the server refuses are lost: it would refuse them again.
        """
        while batch := self._buffer.take():
            try:
                self._send(Request("POST", paths.LOGS, batch, subject="logs of flow runs"))
            except (Interrupted, Unreachable, ServerError, Unauthorized):
                self._buffer.give_back(batch)
                return False
            except DeployctlError:
                self._buffer.lose(len(batch))
        return True


def _size(item: Json) -> int:
    return len(item["message"]) + _FRAME
