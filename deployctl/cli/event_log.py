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
    """One text line in columns: local time, level, subject, phase, message, facts.

    The subject is the run's name if the entry is about a run. A message that says no more than the
    columns is left out. Further lines of the message and the help are indented below it.

        14:13:20 INFO    quick-otter          submitted       job=quick-otter-x7k2p
    """
    from rich.text import Text

    phase = entry.event.rpartition(".")[2].replace("_", " ")
    style = _STYLES[entry.level]
    line = Text.assemble(
        (datetime.fromtimestamp(entry.time).strftime("%H:%M:%S"), "dim"),
        " ",
        (f"{LEVEL_NAMES[entry.level].upper():<7}", style),
        " ",
        (f"{_printable(_subject(entry)):<{_SUBJECT_WIDTH}}", "bold"),
        " ",
        (f"{phase:<{_PHASE_WIDTH}}", _PHASE_STYLES.get(entry.event, style)),
    )
    if entry.event not in _PLAIN_EVENTS:
        line.append(f" {_indented(entry.message)}")
    hidden = {_HELP, _NAME, *((_RUN,) if entry.facts.get(_NAME) else ())}
    if entry.event != EventName.JOB_OUTPUT:
        for name, value in entry.facts.items():
            if name not in hidden and value not in (None, ""):
                line.append(f"  {name}={_printable(str(value))}", "dim")
    if help_text := entry.facts.get(_HELP):
        line.append(f"\n{_INDENT}{_indented(str(help_text))}")
    line.rstrip()
    return line


def _subject(entry: Entry) -> str:
    """The run that an entry is about, else its job, else what of the worker it is about."""
    facts = entry.facts
    return str(facts.get(_NAME) or facts.get("job") or entry.event.partition(".")[0])


def _indented(text: str) -> str:
    return _printable(text).replace("\n", f"\n{_INDENT}")


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
_HELP, _NAME, _RUN = "help", "name", "run"
_SUBJECT_WIDTH = 20
_PHASE_WIDTH = 14
_INDENT = " " * (18 + _SUBJECT_WIDTH + _PHASE_WIDTH + 1)
"""Up to the column of messages."""
_PLAIN_EVENTS = frozenset(
    {
        EventName.RUN_CLAIMED,
        EventName.RUN_SUBMITTED,
        EventName.RUN_COMPLETED,
        EventName.JOB_WAITING,
        EventName.JOB_RUNNING,
        EventName.JOB_SUCCEEDED,
        EventName.JOB_FAILED,
        EventName.JOB_DELETED,
    }
)
"""Events whose message only repeats the subject and the phase."""
_STYLES = {
    Level.DEBUG: "dim",
    Level.INFO: "",
    Level.WARNING: "yellow",
    Level.ERROR: "bold red",
}
_PHASE_STYLES: dict[str, str] = {
    EventName.RUN_CLAIMED: "cyan",
    EventName.RUN_SUBMITTED: "cyan",
    EventName.JOB_RUNNING: "blue",
    EventName.JOB_SUCCEEDED: "green",
    EventName.RUN_COMPLETED: "green",
    EventName.RUN_FAILED: "red",
    EventName.JOB_FAILED: "red",
    EventName.RUN_CANCELLED: "magenta",
}
"""For those whose level does not say how a run fares."""
_SEVERITY = {level: severity for severity, level in enumerate(Level)}
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}")
_CONTROL |= {ord("\n"): "\n", ord("\t"): "\t"}
