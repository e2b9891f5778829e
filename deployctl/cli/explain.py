"""`deployctl explain`: the page of a diagnostic."""

from __future__ import annotations

from typing import Annotated

import typer


def explain(
    code: Annotated[str, typer.Argument(help="A code such as DC101.")],
) -> None:
    """Print what a code means, and the way out."""
    from deployctl.cli.exit import Exit
    from deployctl.core.diagnostics import codes, page
    from deployctl.core.suggest import did_you_mean

    name = code.strip().upper()
    known = codes()
    if name not in known:
        typer.echo(f"there is no diagnostic '{name}'", err=True)
        if suggestion := did_you_mean(name, known):
            typer.echo(suggestion, err=True)
        raise Exit(64)
    typer.echo(page(name).rstrip())
