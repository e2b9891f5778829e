from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType

import pytest

from deployctl.cli.event_log import Entry, LineJournal, LogFormat, as_json, as_line, open_journal
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


def listening(level: Level = Level.INFO) -> tuple[LineJournal, list[Entry]]:
    heard: list[Entry] = []
    return LineJournal(heard.append, level, lambda: MOMENT), heard


def test_a_json_line_has_stable_keys() -> None:
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
def test_a_line_for_people(given: Entry, shown: str) -> None:
    time, _, rest = as_line(given).plain.partition(" ")
    assert len(time.split(":")) == 3
    assert rest == shown


@pytest.mark.parametrize("level", Level)
def test_entries_below_the_level_are_left_out(level: Level) -> None:
    journal, heard = listening(level)
    for each in Level:
        journal.emit(each, "x", "")
    assert [each.level for each in heard] == list(Level)[list(Level).index(level) :]


def test_secrets_are_masked_in_messages_and_facts() -> None:
    redact.register_secrets(["hunter2hunter2"])
    journal, heard = listening()
    journal.emit(Level.INFO, "x", "key hunter2hunter2", url="http://u:pw@host", api_key="abcdef")
    assert heard[0].message == f"key {redact.MASK}"
    assert heard[0].facts == {"url": f"http://{redact.MASK}@host", "api_key": redact.MASK}


@pytest.mark.parametrize(
    ("wanted", "stream", "is_json"),
    [
        (LogFormat.AUTO, io.StringIO, True),
        (LogFormat.AUTO, Terminal, False),
        (LogFormat.JSON, Terminal, True),
        (LogFormat.HUMAN, io.StringIO, False),
    ],
)
def test_the_form_follows_the_reader(
    wanted: LogFormat,
    stream: Callable[[], io.StringIO],
    is_json: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    open_journal(wanted).emit(Level.INFO, "run.claimed", "claimed", run="r1")
    assert isinstance(sys.stderr, io.StringIO)
    assert sys.stderr.getvalue().startswith("{") is is_json
    assert "r1" in sys.stderr.getvalue()


@pytest.mark.parametrize("wanted", [LogFormat.HUMAN, LogFormat.JSON])
def test_a_reader_that_went_away_does_no_harm(
    wanted: LogFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    raw = os.fdopen(writing, "wb", buffering=0)
    with raw, io.TextIOWrapper(raw, write_through=True) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        journal = open_journal(wanted)
        journal.emit(Level.INFO, "x", "")
        with pytest.raises(BrokenPipeError):
            raw.write(b"x")
    journal.emit(Level.INFO, "x", "")


def test_lines_of_many_threads_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    journal = open_journal(LogFormat.JSON)

    def talk() -> None:
        for _ in range(50):
            journal.emit(Level.INFO, "x", "m" * 500)

    threads = [threading.Thread(target=talk) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert isinstance(sys.stderr, io.StringIO)
    lines = [json.loads(line) for line in sys.stderr.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["m" * 500] * 400
