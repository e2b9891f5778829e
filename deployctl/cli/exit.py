"""Exit codes, and the exception that ends a command with one of them.

A module of its own, so that `main` and the command modules don't import each other.
"""

from __future__ import annotations

DONE = 0
FAILED = 1
CHANGES_PRESENT = 2
"""Only with `plan --detailed-exitcode`."""
USAGE = 64
"""`EX_USAGE` of sysexits.h: wrong options or arguments."""
SIGNAL_BASE = 128
"""A signal ends the process with 128 plus its number, as in a shell: 130 for SIGINT, 143 for
SIGTERM."""


class Exit(Exception):
    """Ends the command with an exit code. Typer doesn't know it, so it reaches `main`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
