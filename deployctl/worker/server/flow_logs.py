"""The worker's lines in the logs of flow runs, under the logger name that Prefect's worker uses.

Logging never blocks a run: a line goes into a bounded buffer and is sent by `flush`. While the
server is down, lines wait; when the buffer is full, new ones are dropped and counted. A batch whose
answer was lost is sent again: a duplicate line is better than a missing one.
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
LINE_SIZE = 1_000_000
BATCH_SIZE = 4_000_000
"""Largest line and batch (PREFECT_LOGGING_TO_API_MAX_LOG_SIZE, _BATCH_SIZE), in characters, with
a margin for what JSON adds."""
BUFFER_SIZE = 8_000_000
"""Characters that may wait to be sent: a few crashed runs with all their last lines."""

_LEVEL_NUMBERS = {Level.DEBUG: 10, Level.INFO: 20, Level.WARNING: 30, Level.ERROR: 40}
_OVERHEAD = 250
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
    """Returns a line as an item of `POST /logs/`: redacted, without what a database refuses (NUL
    and lone surrogates), and truncated to LINE_SIZE."""
    message = redact(line.message).replace("\0", "").encode("utf-8", "replace").decode()
    if len(message) > LINE_SIZE:
        message = message[:LINE_SIZE] + " … (cut)"
    return {
        "name": LOGGER,
        "level": _LEVEL_NUMBERS[line.level],
        "message": message,
        "timestamp": datetime.fromtimestamp(line.time, UTC).isoformat(),
        "flow_run_id": line.run,
    }


class Buffer:
    """Bounded FIFO queue of entries, for many threads."""

    def __init__(self, size: int = BUFFER_SIZE, batch: int = BATCH_SIZE) -> None:
        self.dropped = 0
        """Entries that did not fit or were refused."""
        self._entries: deque[Json] = deque()
        self._free = size
        self._batch = batch
        self._lock = threading.Lock()

    def put(self, item: Json) -> None:
        """Appends an entry, or counts it as dropped if it does not fit."""
        with self._lock:
            if _size(item) > self._free:
                self.dropped += 1
            else:
                self._free -= _size(item)
                self._entries.append(item)

    def take(self) -> list[Json]:
        """Removes a batch from the front: at least one entry if there is any."""
        with self._lock:
            batch: list[Json] = []
            left = self._batch
            while self._entries and (not batch or _size(self._entries[0]) <= left):
                item = self._entries.popleft()
                self._free += _size(item)
                left -= _size(item)
                batch.append(item)
            return batch

    def give_back(self, batch: list[Json]) -> None:
        """Puts a batch that was not sent back to the front."""
        with self._lock:
            self._entries.extendleft(reversed(batch))
            self._free -= sum(map(_size, batch))

    def drop(self, count: int) -> None:
        """Counts entries that will never be sent."""
        with self._lock:
            self.dropped += count


class FlowLogs:
    """Sends lines to the logs of flow runs.

    `send` sends a request and raises as `Session.send` does; `clock` returns seconds of the epoch;
    `enabled`: PREFECT_LOGGING_TO_API_ENABLED; if false, lines are discarded.
    """

    def __init__(
        self, send: Callable[[Request], Json], clock: Callable[[], float], *, enabled: bool = True
    ) -> None:
        self._send = send
        self._clock = clock
        self._enabled = enabled
        self._buffer = Buffer()

    @property
    def dropped(self) -> int:
        """How many lines will never reach the server."""
        return self._buffer.dropped

    def emit(self, run: str, level: Level, message: str) -> None:
        """Adds a line to the log of the run with this id; from any thread, without blocking."""
        if self._enabled:
            self._buffer.put(entry(Line(run, level, message, self._clock())))

    def flush(self) -> bool:
        """Sends the buffered lines; returns whether the buffer is empty.

        Batches that the server refuses are dropped: it would refuse them again.
        """
        while batch := self._buffer.take():
            try:
                self._send(Request("POST", paths.LOGS, batch, subject="logs of flow runs"))
            except (Interrupted, Unreachable, ServerError, Unauthorized):
                self._buffer.give_back(batch)
                return False
            except DeployctlError:
                self._buffer.drop(len(batch))
        return True


def _size(item: Json) -> int:
    return len(item["message"]) + _OVERHEAD
