"""What an engine tells of a build or a push, as lines to show and as what came of it.

Engines tell it as records of JSON: pieces of text, states of single layers, results, and at last a
failure. Which line of the Dockerfile failed nobody says; the engine's own builder counts its steps
(`Step 3/7 : RUN make`), and so does Podman.
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

_SECONDS_BETWEEN_LOOKS = 0.1
_STEP = re.compile(r"step (\d+)/(\d+) ?: (.*)", re.IGNORECASE)
_BUILT = re.compile(r"Successfully built ([0-9a-f]{12,64})")
_PUSHED = re.compile(r".*: digest: (sha256:[0-9a-f]{64}) size: \d+")
_FAILURES = {"error", "errorDetail", "message"}
"""Keys of a failure: on the way, or instead of all that should have come."""
AT_LINE = re.compile(r"(?:parse error (?:on )?line |Dockerfile:)(\d+)")
"""How engines name a line, where they do: before they build, and BuildKit also after it."""


@dataclass
class OutputParser:
    """Takes records one by one."""

    on_line: Callable[[str], None]
    """Is told each line."""
    lines: list[str] = field(default_factory=list)
    failure: str | None = None
    """Why it failed; None as long as it did not."""
    id: str | None = None
    """The image that was built."""
    digest: str | None = None
    """That of the manifest that was pushed."""
    step: tuple[int, int] | None = None
    """The number of the last step that began, and how many there are."""
    _rest: str = ""

    def take(self, record: Json) -> None:
        """One record."""
        if "stream" in record:
            *lines, self._rest = (self._rest + str(record["stream"])).split("\n")
            for line in lines:
                self._line(line)
        elif _FAILURES & record.keys():
            detail = record.get("errorDetail") or record
            self.failure = str(detail.get("message") or record.get("error"))
        elif "status" in record and not record.get("progressDetail"):
            layer = record.get("id")
            self._line(f"{layer}: {record['status']}" if layer else str(record["status"]))
        result = record.get("aux") or {}
        self.id = result.get("ID") or self.id
        self.digest = result.get("Digest") or self.digest

    def end(self) -> None:
        """No more records come."""
        if self._rest:
            self._line(self._rest)
            self._rest = ""

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
    """The line of the Dockerfile that failed, as `FILE:LINE (INSTRUCTION)`; "" if unknown."""
    if output.failure and (said := AT_LINE.search(output.failure)):
        return f"{dockerfile.name}:{said[1]}"
    steps = list(dockerfile.arguments)
    for stage in dockerfile.stages:
        steps += [stage.opening, *stage.instructions]
    if output.step is None or output.step[1] != len(steps):
        return ""
    found = steps[output.step[0] - 1]
    words = " ".join([found.keyword, *(f"--{n}={v}" for n, v in found.flags), *found.words])
    return f"{dockerfile.name}:{found.line} ({words[:80]})"


def interruptible(items: Iterable[T], stop: CancellationToken) -> Iterator[T]:
    """The same items; raises Interrupted as soon as a stop is asked, also while none comes.

    They are read in a thread of their own, which nobody waits for after that.
    """
    arrived: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            for item in items:
                arrived.put((item,))
        except BaseException as error:
            arrived.put(error)
        else:
            arrived.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        stop.raise_if_cancelled()
        try:
            found = arrived.get(timeout=_SECONDS_BETWEEN_LOOKS)
        except queue.Empty:
            continue
        if found is None:
            return
        if isinstance(found, BaseException):
            raise found
        yield found[0]
