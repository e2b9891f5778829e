"""`deployctl explain`: the page of a diagnostic."""

from __future__ import annotations

from typing import Annotated

import typer

from deployctl.cli.command import command


@command(
    "explain",
    ("Explain an error of a missing work pool", "deployctl explain DC510"),
    ("Codes may be written in lower case", "deployctl explain dc101"),
)
def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="Code of a diagnostic, e.g. DC101.")],
) -> None:
    """Print what the code of a diagnostic means and how to fix its cause."""
    from deployctl.cli.exit import USAGE, Exit
    from deployctl.core.catalogue import CATALOGUE, page
    from deployctl.core.suggest import did_you_mean

    name = code.strip().upper()
    if name not in CATALOGUE:
        typer.echo(f"there is no diagnostic '{name}'", err=True)
        if suggestion := did_you_mean(name, CATALOGUE):
            typer.echo(suggestion, err=True)
        raise Exit(USAGE)
    typer.echo(page(name).rstrip())
