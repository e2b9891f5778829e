"""`deployctl explain`: the page of a diagnostic."""

from __future__ import annotations

from typing import Annotated

import typer


def explain(
    code: Annotated[str, typer.Argument(help="A code such as DC101.")],
) -> None:
    """Print what a code means, and the way out."""
    import difflib

    from deployctl.cli.exit import Exit
    from deployctl.core.diagnostics import codes, page

    wanted = code.strip().upper()
    known = codes()
    if wanted not in known:
        close = difflib.get_close_matches(wanted, known, 3)
        guess = f"; close are {', '.join(close)}" if close else ""
        typer.echo(f"there is no code {code!r}{guess}", err=True)
        raise Exit(64)
    typer.echo(page(wanted).rstrip())
