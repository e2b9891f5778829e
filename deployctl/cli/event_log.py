"""The worker's event log on stderr: text lines on a terminal, JSON lines elsewhere.

Both formats show the same entries. A lock keeps lines whole, and writing blocks: a slow reader
slows the worker down, because dropping lines silently would be worse. If the reader is gone, lines
are dropped and the worker continues.
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
    """The values of `--log-format`."""

    AUTO = "auto"
    """Human on a terminal, JSON elsewhere."""
    HUMAN = "human"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One event, without secrets."""

    time: float
    """Seconds since the epoch."""
    level: Level
    event: str
    """A stable name, e.g. `run.claimed`."""
    message: str
    facts: Mapping[str, Json]


class StderrEventLog:
    """An `EventLog` that writes one line per entry of `level` or above."""

    def __init__(
        self,
        write_entry: Callable[[Entry], None],
        level: Level = Level.INFO,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`write_entry` writes an entry; its errors of a closed stream are ignored."""
        self.level = level
        self._write_entry = write_entry
        self._clock = clock
        self._lock = threading.Lock()

    def emit(self, level: Level, event: str, message: str, **facts: Json) -> None:
        """Writes an entry with secrets masked; see `EventLog`."""
        if _SEVERITY[level] < _SEVERITY[self.level]:
            return
        entry = Entry(self._clock(), level, event, redact(message), mask_secrets(facts))
        with self._lock:
            try:
                self._write_entry(entry)
            except (OutputError, OSError, ValueError):
                return


def open_event_log(log_format: LogFormat) -> StderrEventLog:
    """The event log on stderr in a format."""
    human = log_format is LogFormat.HUMAN or (log_format is LogFormat.AUTO and sys.stderr.isatty())
    return StderrEventLog(_write_line if human else _write_json)


def as_json(entry: Entry) -> str:
    """One line of JSON. Its keys are a public interface."""
    moment = datetime.fromtimestamp(entry.time, UTC).isoformat(timespec="milliseconds")
    return json.dumps(
        {
            "time": moment.replace("+00:00", "Z"),
            "level": LEVEL_NAMES[entry.level],
            "event": entry.event,
            "message": entry.message,
            "facts": entry.facts,
        },
        ensure_ascii=False,
        default=str,
    )


def as_line(entry: Entry) -> Text:
    """One text line: local time, level, message, facts; the help is on a line of its own."""
    from rich.text import Text

    line = Text.assemble(
        (datetime.fromtimestamp(entry.time).strftime("%H:%M:%S"), "dim"),
        " ",
        (f"{LEVEL_NAMES[entry.level].upper():<7}", _STYLES[entry.level]),
        " ",
        _printable(entry.message),
    )
    if entry.event == EventName.JOB_OUTPUT:
        line.append(f"  {entry.facts.get('job', '')}", "dim")
        return line
    for name, value in entry.facts.items():
        if name != _HELP and value not in (None, ""):
            line.append(f"  {name}={_printable(str(value))}", "dim")
    if help_text := entry.facts.get(_HELP):
        line.append(f"\n{'':17}{_printable(str(help_text))}")
    return line


def _write_line(entry: Entry) -> None:
    write([as_line(entry)], stderr=True)


def _write_json(entry: Entry) -> None:
    sys.stderr.write(f"{as_json(entry)}\n")
    sys.stderr.flush()


def _printable(text: str) -> str:
    """The text without control characters, which could rewrite what the terminal shows."""
    return text.translate(_CONTROL)


LEVEL_NAMES = {
    Level.DEBUG: "debug",
    Level.INFO: "info",
    Level.WARNING: "warning",
    Level.ERROR: "error",
}
"""Values of the key `level` in JSON lines."""
_HELP = "help"
_STYLES = {
    Level.DEBUG: "dim",
    Level.INFO: "green",
    Level.WARNING: "yellow",
    Level.ERROR: "bold red",
}
_SEVERITY = {level: severity for severity, level in enumerate(Level)}
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}")
_CONTROL |= {ord("\n"): "\n", ord("\t"): "\t"}
