"""The entry point: from the command line to one command, and from any error to an exit code.

Exit codes: 0 done, 1 failed, 2 changes are present (`plan --detailed-exitcode` only), 64 the
command line makes no sense, 130 and 143 stopped by a signal.
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

from deployctl.cli.exit import USAGE, Exit

_GC_THRESHOLD = 50_000
"""Objects until garbage is looked for. Python's 700 costs a third of the time that syntax trees and
YAML take, and there is hardly any garbage in a process that lives for a second."""


def main() -> NoReturn:
    """Runs the command of `sys.argv` and ends the process with its exit code.

    Python would wait for threads whose requests nobody answers any more, in pools also for daemons;
    where there are some, the process ends without them.
    """
    try:
        code = run()
    except KeyboardInterrupt:
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if threading.active_count() > 1:
        os._exit(code)
    sys.exit(code)


def run() -> int:
    """Runs the command of `sys.argv`, with streams that say when nothing can be written to them.

    Gives its exit code. Raises KeyboardInterrupt where the command does not listen to signals.
    """
    from deployctl.cli.console import Checked, OutputError

    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
            setattr(sys, name, Checked(stream))
    try:
        code = _command()
        if sys.stdout is not None:
            sys.stdout.flush()
    except OutputError as error:
        sys.stdout = None
        if not error.reader_is_gone:
            with suppress(OutputError):
                print(f"the output cannot be written: {error}", file=sys.stderr)
        return 1
    return code


def _command() -> int:
    if sys.argv[1:] == ["--version"]:
        from deployctl import __version__

        print(f"deployctl {__version__}")
        return 0
    from deployctl.cli.commands import app

    gc.set_threshold(_GC_THRESHOLD)
    try:
        app(prog_name="deployctl")
    except Exit as ended:
        return ended.code
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
        return USAGE if code == 2 else code
    return 0
