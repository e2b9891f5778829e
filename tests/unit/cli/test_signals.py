"""Graceful stop on the first signal, exit on the second."""

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

from deployctl.cli.signals import NOTICE, stop_on_signals

PROGRAM = """
import sys, time
from deployctl.cli import signals
signals.ECHO_WINDOW = float(sys.argv[1])
with signals.stop_on_signals(lambda text: print(text, flush=True)) as stop:
    print("ready", flush=True)
    while not stop.wait(0.1):
        pass
    print("requested", flush=True)
    while True:
        time.sleep(0.1)
"""
"""Waits are short: a signal that arrives just before one is handled only after it."""


HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def started(
    ignored: int | None = None, echo_window: float = 0.0
) -> Iterator[subprocess.Popen[str]]:
    """A process that is ready for signals, started with one signal or none ignored.

    Signals that this process ignores, e.g. because of `nohup`, are set to their defaults in it.
    """
    actions = {
        number: signal.SIG_IGN if number == ignored else signal.SIG_DFL for number in HANDLED
    }
    previous = {number: signal.signal(number, action) for number, action in actions.items()}
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(echo_window)],
            stdout=subprocess.PIPE,
            text=True,
        )
    finally:
        for number, action in previous.items():
            signal.signal(number, action)
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
@pytest.mark.parametrize("sent", HANDLED)
def test_first_signal_stops_gracefully_and_second_exits(ignored: int | None, sent: int) -> None:
    with started(ignored) as process:
        process.send_signal(sent)
        assert next_line(process) == NOTICE
        assert next_line(process) == "requested"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM


def test_ignores_copy_of_first_signal() -> None:
    with started(echo_window=3600.0) as process:
        process.send_signal(signal.SIGTERM)
        assert next_line(process) == NOTICE
        process.send_signal(signal.SIGTERM)
        assert next_line(process) == "requested"
        assert process.poll() is None


def test_ignored_sighup_stays_ignored() -> None:
    with started(signal.SIGHUP) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert next_line(process) == NOTICE
        assert next_line(process) == "requested"
        assert process.poll() is None


def test_sighup_does_not_exit_while_stopping() -> None:
    with started() as process:
        process.send_signal(signal.SIGTERM)
        assert next_line(process) == NOTICE
        assert next_line(process) == "requested"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM


STEP = """
import sys
from pathlib import Path
from deployctl.cli import signals
from deployctl.clients import process
signals.ECHO_WINDOW = 0.0
with signals.stop_on_signals(lambda text: None) as stop:
    process.run(
        [sys.executable, "-c", sys.argv[1]],
        cwd=Path.cwd(), env=None, timeout=None, cancellation=stop,
        on_line=lambda _, line: print(line, flush=True),
    )
"""
IGNORES_SIGTERM = """
import os, signal, sys, time
def clean_up(*_):
    os.write(1, b"cleaning\\n")
signal.signal(signal.SIGTERM, clean_up)
print(os.getpid(), flush=True)
while True: time.sleep(1)
"""


def test_second_signal_kills_programs_that_are_cleaning_up() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STEP, IGNORES_SIGTERM], stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            program = int(next_line(running))
            running.send_signal(signal.SIGINT)
            assert next_line(running) == "cleaning"
            running.send_signal(signal.SIGINT)
            assert running.wait(30) == 128 + signal.SIGINT
        finally:
            running.kill()
    assert has_exited(program)


def has_exited(pid: int) -> bool:
    """Whether a process exits within 5 seconds; a zombie has exited."""
    for _ in range(100):
        try:
            if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.timeout(30)
def test_signal_during_wait_does_not_deadlock() -> None:
    with stop_on_signals(lambda _text: None) as stop:
        event: Any = vars(stop)["_event"]
        with event._cond:
            signal.raise_signal(signal.SIGTERM)
        assert stop.wait(20)
        assert stop.interrupted().exit_code == 128 + signal.SIGTERM
