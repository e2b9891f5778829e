"""Entry point: runs the command of `sys.argv` and turns every error into an exit code.

The exit codes are in `deployctl.cli.exit`.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from deployctl.cli.exit import DONE, FAILED, SIGNAL_BASE, USAGE, Exit

_TYPER_USAGE = 2
"""The exit code that Typer gives wrong options and arguments."""
_GC_THRESHOLD = 50_000
"""Allocations between two garbage collections. With Python's default of 700, collections take a
third of the time of parsing code and YAML, and a process that lives for a second has hardly any
garbage."""


def main() -> NoReturn:
    """Runs the command of `sys.argv` and ends the process with its exit code.

    Python waits at exit for all threads, and for those of thread pools even if they are daemons. A
    thread may be blocked in a request that is never answered, so with threads left, the process
    exits without waiting.
    """
    try:
        code = run()
    except KeyboardInterrupt:
        code = SIGNAL_BASE + signal.SIGINT
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if threading.active_count() > 1:
        os._exit(code)
    sys.exit(code)


def run() -> int:
    """Runs the command of `sys.argv` and returns its exit code.

    A failed write to stdout or stderr is reported once. Raises KeyboardInterrupt where the command
    doesn't handle signals.
    """
    from deployctl.cli.console import CheckedStream, OutputError

    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
            setattr(sys, name, CheckedStream(stream))
    try:
        code = _run_command()
        if sys.stdout is not None:
            sys.stdout.flush()
    except OutputError as error:
        sys.stdout = None
        if not error.is_broken_pipe:
            with suppress(OutputError):
                print(f"cannot write the output: {error}", file=sys.stderr)
        return FAILED
    return code


def _run_command() -> int:
    if sys.argv[1:] == ["--version"]:
        from deployctl import __version__

        print(f"deployctl {__version__}")
        return DONE
    from deployctl.cli.commands import app

    gc.set_threshold(_GC_THRESHOLD)
    try:
        app(prog_name="deployctl")
    except Exit as exit_:
        return exit_.code
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else FAILED
        return USAGE if code == _TYPER_USAGE else code
    return DONE
