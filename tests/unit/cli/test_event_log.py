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
from deployctl.worker.event_log import EventName, Level

MOMENT = 1_790_000_000.25


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def entry(
    message: str = "claimed",
    facts: Mapping[str, Json] = MappingProxyType({}),
    level: Level = Level.INFO,
    event: str = "run.claimed",
) -> Entry:
    return Entry(MOMENT, level, event, message, facts)


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


RUN = {"run": "6f1c", "name": "quick-otter"}
INDENT = " " * 53


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (
            entry("claimed 'quick-otter'", RUN),
            "INFO    quick-otter          claimed",
        ),
        (
            entry("job 'j' is running", {**RUN, "job": "j", "late": 0}, event="job.running"),
            "INFO    quick-otter          running         job=j  late=0",
        ),
        (
            entry("out of memory", {**RUN, "cause": "OOM"}, Level.ERROR, "run.crashed"),
            "ERROR   quick-otter          crashed        out of memory  cause=OOM",
        ),
        (
            entry("it waits", {"run": "r1", "job": "j", "pid": None}, event="job.start_delayed"),
            "INFO    j                    start delayed  it waits  run=r1  job=j",
        ),
        (
            entry("a line", {**RUN, "job": "j"}, event="job.output"),
            "INFO    quick-otter          output         a line",
        ),
        (
            entry("no", {"help": "Do this.\nOr that."}, Level.WARNING, "loop.failed"),
            f"WARNING loop                 failed         no\n{INDENT}Do this.\n{INDENT}Or that.",
        ),
        (
            entry("first\nsecond", RUN, event="run.start_failed"),
            f"INFO    quick-otter          start failed   first\n{INDENT}second",
        ),
        (
            entry("a\x1b[2Jb", {"run": "\x9bx\r"}, event="run.cancelled"),
            "INFO    run                  cancelled      a\N{REPLACEMENT CHARACTER}[2Jb"
            "  run=\N{REPLACEMENT CHARACTER}x\N{REPLACEMENT CHARACTER}",
        ),
        (
            entry("x", {"name": "a-name-that-is-longer-than-the-column"}, event="run.claimed"),
            "INFO    a-name-that-is-longer-than-the-column claimed",
        ),
    ],
)
def test_text_lines_have_columns_with_the_run_first(given: Entry, shown: str) -> None:
    time, _, rest = as_line(given).plain.partition(" ")
    assert len(time.split(":")) == 3
    assert rest == shown


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colour_of_text_lines_follows_the_environment(
    variables: Mapping[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    open_event_log(LogFormat.HUMAN).emit(
        Level.INFO, EventName.JOB_SUCCEEDED, "", name="quick-otter"
    )
    assert isinstance(sys.stderr, io.StringIO)
    assert ("\x1b[32m" in sys.stderr.getvalue()) is coloured


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
