"""Parses the output of engine builds and pushes: printed lines, and the result.

Engines report a stream of JSON records: pieces of text, states of single layers, results, and a
failure at the end. No record names the Dockerfile line that failed; the classic builder, and Podman
too, number their steps (`Step 3/7 : RUN make`).
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.images.dockerfile.parser import Dockerfile

T = TypeVar("T")

_POLL_INTERVAL = 0.1
_STEP = re.compile(r"step (\d+)/(\d+) ?: (.*)", re.IGNORECASE)
_BUILT = re.compile(r"Successfully built ([0-9a-f]{12,64})")
_PUSHED = re.compile(r".*: digest: (sha256:[0-9a-f]{64}) size: \d+")
_FAILURE_KEYS = {"error", "errorDetail", "message"}
"""Keys of a failure record: at the end of a stream, or instead of it."""
AT_LINE = re.compile(r"(?:parse error (?:on )?line |Dockerfile:)(\d+)")
"""How engines name a Dockerfile line: before a build, and BuildKit also after it."""


@dataclass
class OutputParser:
    """Collects lines, result and failure from records."""

    on_line: Callable[[str], None]
    """Receives each line."""
    lines: list[str] = field(default_factory=list)
    failure: str | None = None
    """Reason of the failure; None if there is none."""
    id: str | None = None
    """Id of the built image."""
    digest: str | None = None
    """Digest of the pushed manifest."""
    step: tuple[int, int] | None = None
    """Number of the last step that started, and the total number."""
    _partial_line: str = ""

    def feed(self, record: Json) -> None:
        """Processes one record."""
        if "stream" in record:
            *lines, self._partial_line = (self._partial_line + str(record["stream"])).split("\n")
            for line in lines:
                self._line(line)
        elif _FAILURE_KEYS & record.keys():
            detail = record.get("errorDetail") or record
            self.failure = str(detail.get("message") or record.get("error"))
        elif "status" in record and not record.get("progressDetail"):
            layer = record.get("id")
            self._line(f"{layer}: {record['status']}" if layer else str(record["status"]))
        result = record.get("aux") or {}
        self.id = result.get("ID") or self.id
        self.digest = result.get("Digest") or self.digest

    def close(self) -> None:
        """Flushes the last line, after the last record."""
        if self._partial_line:
            self._line(self._partial_line)
            self._partial_line = ""

    def _line(self, text: str) -> None:
        line = text.rstrip()
        if step := _STEP.search(line):
            self.step = int(step[1]), int(step[2])
        if built := _BUILT.match(line):
            self.id = self.id or built[1]
        if pushed := _PUSHED.fullmatch(line):
            self.digest = self.digest or pushed[1]
        if line:
            self.lines.append(line)
            self.on_line(line)


def failed_instruction(dockerfile: Dockerfile, output: OutputParser) -> str:
    """The position of the instruction that failed, as `FILE:LINE (INSTRUCTION)`; "" if unknown."""
    if output.failure and (named := AT_LINE.search(output.failure)):
        return f"{dockerfile.name}:{named[1]}"
    steps = list(dockerfile.arguments)
    for stage in dockerfile.stages:
        steps += [stage.opening, *stage.instructions]
    if output.step is None or output.step[1] != len(steps):
        return ""
    found = steps[output.step[0] - 1]
    words = " ".join([found.keyword, *(f"--{n}={v}" for n, v in found.flags), *found.words])
    return f"{dockerfile.name}:{found.line} ({words[:80]})"


def interruptible(items: Iterable[T], cancellation: CancellationToken) -> Iterator[T]:
    """Yields the items; raises Interrupted when cancelled, also while waiting for one.

    A daemon thread reads them, which is abandoned after an interruption.
    """
    received: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()

    def _read() -> None:
        try:
            for item in items:
                received.put((item,))
        except BaseException as error:
            received.put(error)
        else:
            received.put(None)

    threading.Thread(target=_read, daemon=True).start()
    while True:
        cancellation.raise_if_cancelled()
        try:
            item = received.get(timeout=_POLL_INTERVAL)
        except queue.Empty:
            continue
        if item is None:
            return
        if isinstance(item, BaseException):
            raise item
        yield item[0]
