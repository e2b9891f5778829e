"""The worker's event log on stderr, as text and as JSON."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType

import pytest

from deployctl.cli.event_log import (
    Entry,
    LogFormat,
    StderrEventLog,
    as_json,
    as_line,
    open_event_log,
)
from deployctl.core import redact
from deployctl.core.json_values import Json
from deployctl.worker.event_log import Level

MOMENT = 1_790_000_000.25


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def entry(
    message: str = "claimed",
    facts: Mapping[str, Json] = MappingProxyType({}),
    level: Level = Level.INFO,
) -> Entry:
    return Entry(MOMENT, level, "run.claimed", message, facts)


def recording_log(level: Level = Level.INFO) -> tuple[StderrEventLog, list[Entry]]:
    entries: list[Entry] = []
    return StderrEventLog(entries.append, level, lambda: MOMENT), entries


def test_json_line_has_documented_keys() -> None:
    line = as_json(entry(message="claimed\nrun 'é'", facts={"run": "r1", "late": 2.5, "odd": {1}}))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2026-09-21T14:13:20.250Z",
        "level": "info",
        "event": "run.claimed",
        "message": "claimed\nrun 'é'",
        "facts": {"run": "r1", "late": 2.5, "odd": "{1}"},
    }


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (entry(), "INFO    claimed"),
        (entry(level=Level.WARNING, facts={"run": "r1"}), "WARNING claimed  run=r1"),
        (entry(facts={"cause": "", "pid": None, "late": 0}), "INFO    claimed  late=0"),
        (
            entry(message="no", facts={"help": "Do this."}),
            f"INFO    no\n{'':17}Do this.",
        ),
        (
            entry(message="a\x1b[2Jb", facts={"run": "\x9bx\r"}),
            "INFO    a\N{REPLACEMENT CHARACTER}[2Jb"
            "  run=\N{REPLACEMENT CHARACTER}x\N{REPLACEMENT CHARACTER}",
        ),
    ],
)
def test_formats_text_line(given: Entry, shown: str) -> None:
    time, _, rest = as_line(given).plain.partition(" ")
    assert len(time.split(":")) == 3
    assert rest == shown


@pytest.mark.parametrize("level", Level)
def test_drops_entries_below_level(level: Level) -> None:
    event_log, entries = recording_log(level)
    for each in Level:
        event_log.emit(each, "x", "")
    assert [each.level for each in entries] == list(Level)[list(Level).index(level) :]


def test_secrets_are_masked_in_messages_and_facts() -> None:
    redact.register_secrets(["hunter2hunter2"])
    event_log, entries = recording_log()
    event_log.emit(Level.INFO, "x", "key hunter2hunter2", url="http://u:pw@host", api_key="abcdef")
    assert entries[0].message == f"key {redact.MASK}"
    assert entries[0].facts == {"url": f"http://{redact.MASK}@host", "api_key": redact.MASK}


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        (LogFormat.AUTO, io.StringIO, True),
        (LogFormat.AUTO, Terminal, False),
        (LogFormat.JSON, Terminal, True),
        (LogFormat.HUMAN, io.StringIO, False),
    ],
)
def test_auto_format_depends_on_terminal(
    log_format: LogFormat,
    stream: Callable[[], io.StringIO],
    is_json: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    open_event_log(log_format).emit(Level.INFO, "run.claimed", "claimed", run="r1")
    assert isinstance(sys.stderr, io.StringIO)
    assert sys.stderr.getvalue().startswith("{") is is_json
    assert "r1" in sys.stderr.getvalue()


@pytest.mark.parametrize("log_format", [LogFormat.HUMAN, LogFormat.JSON])
def test_ignores_closed_reader(log_format: LogFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    raw = os.fdopen(writing, "wb", buffering=0)
    with raw, io.TextIOWrapper(raw, write_through=True) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        event_log = open_event_log(log_format)
        event_log.emit(Level.INFO, "x", "")
        with pytest.raises(BrokenPipeError):
            raw.write(b"x")
    event_log.emit(Level.INFO, "x", "")


def test_keeps_lines_of_concurrent_threads_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    event_log = open_event_log(LogFormat.JSON)

    def emit_lines() -> None:
        for _ in range(50):
            event_log.emit(Level.INFO, "x", "m" * 500)

    threads = [threading.Thread(target=emit_lines) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert isinstance(sys.stderr, io.StringIO)
    lines = [json.loads(line) for line in sys.stderr.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["m" * 500] * 400
