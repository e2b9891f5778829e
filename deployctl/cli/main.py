"""The entry point: from the command line to one command, and from any error to an exit code.

Exit codes: 0 done, 1 failed, 2 changes are present (`plan --detailed-exitcode` only), 64 the
command line makes no sense, 130 and 143 stopped by a signal.
"""

from __future__ import annotations

import sys
from typing import NoReturn

_USAGE = 64


class Exit(Exception):
    """Ends the process with a code that the command-line library knows nothing of."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main() -> NoReturn:
    """Runs the command of `sys.argv`; never returns."""
    if sys.argv[1:] == ["--version"]:
        from deployctl import __version__

        print(f"deployctl {__version__}")
        sys.exit(0)
    sys.exit(_run())


def _run() -> int:
    from deployctl.cli.commands import app

    try:
        app(prog_name="deployctl")
    except Exit as ended:
        return ended.code
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
        return _USAGE if code == 2 else code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stdout = None
        return 1
    return 0
