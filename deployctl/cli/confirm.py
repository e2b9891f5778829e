"""Confirmations on the terminal, for commands that delete."""

from __future__ import annotations

import sys

import typer

from deployctl.core.errors import UsageError


def check_terminal(what: str, effect: str = "") -> None:
    """Raises UsageError if stdin is no terminal, on which to confirm what `--yes` confirms.

    `effect`: a sentence about what it does to other objects; empty: nothing.
    """
    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError(
            f"{what} needs a confirmation, and stdin is no terminal",
            help=f"{effect} Add --yes.".strip(),
        )


def confirm(question: str) -> bool:
    """Asks on the terminal; end of input is no."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False
