from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deployctl.cli.signals import stopping

PROGRAM = """
import sys, time
from deployctl.cli import signals
signals.ECHO = float(sys.argv[1])
with signals.stopping(lambda text: print(text, flush=True)) as stop:
    print("ready", flush=True)
    while not stop.wait(0.1):
        pass
    print("asked", flush=True)
    while True:
        time.sleep(0.1)
"""
"""Its waits are short because a signal that comes just before one is heard only after it."""


HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def started(ignored: int | None = None, echo: float = 0.0) -> Iterator[subprocess.Popen[str]]:
    """A process, ready to be sent signals, whose parent had it ignore one or none.

    What this process itself was told to ignore, by `nohup` for one, does not reach it.
    """
    ways = {number: signal.SIG_IGN if number == ignored else signal.SIG_DFL for number in HEARD}
    before = {number: signal.signal(number, way) for number, way in ways.items()}
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(echo)],
            stdout=subprocess.PIPE,
            text=True,
        )
    finally:
        for number, way in before.items():
            signal.signal(number, way)
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


@pytest.mark.parametrize("ignored", [signal.SIGINT, None])
@pytest.mark.parametrize("sent", HEARD)
def test_the_first_signal_asks_and_the_second_ends(ignored: int | None, sent: int) -> None:
    with started(ignored) as process:
        process.send_signal(sent)
        assert next_line(process).startswith("stopping")
        assert next_line(process) == "asked"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM


def test_an_echo_of_the_first_signal_is_no_second_one() -> None:
    with started(echo=3600.0) as process:
        process.send_signal(signal.SIGTERM)
        assert next_line(process).startswith("stopping")
        process.send_signal(signal.SIGTERM)
        assert next_line(process) == "asked"
        assert process.poll() is None


def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    with started(signal.SIGHUP) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert next_line(process).startswith("stopping")
        assert next_line(process) == "asked"
        assert process.poll() is None


def test_a_hang_up_does_not_end_what_is_stopping() -> None:
    with started() as process:
        process.send_signal(signal.SIGTERM)
        assert next_line(process).startswith("stopping")
        assert next_line(process) == "asked"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM


STEP = """
import sys
from pathlib import Path
from deployctl.cli import signals
from deployctl.clients import process
signals.ECHO = 0.0
with signals.stopping(lambda text: None) as stop:
    process.run(
        [sys.executable, "-c", sys.argv[1]],
        cwd=Path.cwd(), env=None, timeout=None, cancellation=stop,
        on_line=lambda _, line: print(line, flush=True),
    )
"""
DEAF = """
import os, signal, sys, time
def clear_up(*_):
    os.write(1, b"clearing\\n")
signal.signal(signal.SIGTERM, clear_up)
print(os.getpid(), flush=True)
while True: time.sleep(1)
"""


def test_the_second_signal_kills_the_programs_that_still_clear_up() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STEP, DEAF], stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            program = int(next_line(running))
            running.send_signal(signal.SIGINT)
            assert next_line(running) == "clearing"
            running.send_signal(signal.SIGINT)
            assert running.wait(30) == 128 + signal.SIGINT
        finally:
            running.kill()
    assert is_over(program)


def is_over(pid: int) -> bool:
    """Whether a process ends within some seconds; one that only waits to be collected has."""
    for _ in range(100):
        try:
            if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.timeout(30)
def test_a_signal_in_the_midst_of_a_wait_does_not_hang() -> None:
    with stopping(lambda _text: None) as stop:
        event: Any = vars(stop)["_event"]
        with event._cond:
            signal.raise_signal(signal.SIGTERM)
        assert stop.wait(20)
        assert stop.interrupted().exit_code == 128 + signal.SIGTERM
