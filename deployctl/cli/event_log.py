"""A worker's journal on stderr: lines for people on a terminal, JSON lines for everything else.

Both show the same entries. Lines are written one after the other under a lock, and whoever reads
them slowly slows the worker down: losing lines in silence would be worse. A reader that went away
costs the lines, never the worker.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from deployctl.cli.console import OutputError, write
from deployctl.core.json_values import Json
from deployctl.core.redact import mask_secrets, redact
from deployctl.worker.event_log import EventName, Level

if TYPE_CHECKING:
    from rich.text import Text


class LogFormat(StrEnum):
    """For whom the journal is."""

    AUTO = "auto"
    """People on a terminal, programs elsewhere."""
    HUMAN = "human"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, fit to be shown."""

    time: float
    """Seconds of the epoch."""
    level: Level
    event: str
    message: str
    facts: Mapping[str, Json]


class LineJournal:
    """A `Journal` that writes a line for each entry from `level` on."""

    def __init__(
        self,
        put: Callable[[Entry], None],
        level: Level = Level.INFO,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`put` writes an entry; what it raises because nobody reads any more is ignored."""
        self.level = level
        self._put = put
        self._clock = clock
        self._lock = threading.Lock()

    def emit(self, level: Level, event: str, message: str, **facts: Json) -> None:
        """Writes a line, without secrets; see `Journal`."""
        if _WEIGHT[level] < _WEIGHT[self.level]:
            return
        entry = Entry(self._clock(), level, event, redact(message), mask_secrets(facts))
        with self._lock:
            try:
                self._put(entry)
            except (OutputError, OSError, ValueError):
                return


def open_journal(wanted: LogFormat) -> LineJournal:
    """The journal on stderr."""
    for_people = wanted is LogFormat.HUMAN or (wanted is LogFormat.AUTO and sys.stderr.isatty())
    return LineJournal(_put_line if for_people else _put_json)


def as_json(entry: Entry) -> str:
    """One line of JSON; its keys stay as they are."""
    moment = datetime.fromtimestamp(entry.time, UTC).isoformat(timespec="milliseconds")
    return json.dumps(
        {
            "time": moment.replace("+00:00", "Z"),
            "level": entry.level.value,
            "event": entry.event,
            "message": entry.message,
            "facts": entry.facts,
        },
        ensure_ascii=False,
        default=str,
    )


def as_line(entry: Entry) -> Text:
    """A line for people: local time, level, what happened, facts; the way out below it."""
    from rich.text import Text

    line = Text.assemble(
        (datetime.fromtimestamp(entry.time).strftime("%H:%M:%S"), "dim"),
        " ",
        (f"{entry.level.value.upper():<7}", _STYLES[entry.level]),
        " ",
        _printable(entry.message),
    )
    if entry.event == EventName.JOB_OUTPUT:
        line.append(f"  {entry.facts.get('job', '')}", "dim")
        return line
    for name, value in entry.facts.items():
        if name != _HELP and value not in (None, ""):
            line.append(f"  {name}={_printable(str(value))}", "dim")
    if way_out := entry.facts.get(_HELP):
        line.append(f"\n{'':17}{_printable(str(way_out))}")
    return line


def _put_line(entry: Entry) -> None:
    write([as_line(entry)], stderr=True)


def _put_json(entry: Entry) -> None:
    sys.stderr.write(f"{as_json(entry)}\n")
    sys.stderr.flush()


def _printable(text: str) -> str:
    """Without the control characters with which a name or a log line could rewrite a terminal."""
    return text.translate(_CONTROL)


_HELP = "help"
_STYLES = {
    Level.DEBUG: "dim",
    Level.INFO: "green",
    Level.WARNING: "yellow",
    Level.ERROR: "bold red",
}
_WEIGHT = {level: weight for weight, level in enumerate(Level)}
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}")
_CONTROL |= {ord("\n"): "\n", ord("\t"): "\t"}
