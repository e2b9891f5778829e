"""`deployctl explain`: the page of a diagnostic."""

from __future__ import annotations

from typing import Annotated

import typer

from deployctl.cli import completion
from deployctl.cli.command import command


@command(
    "explain",
    ("Explain an error of a missing work pool", "deployctl explain DC510"),
    ("The letters may be left out", "deployctl explain 101"),
)
def explain(
    code: Annotated[
        str,
        typer.Argument(
            metavar="CODE",
            help="Code of a diagnostic, e.g. DC101.",
            autocompletion=completion.codes,
        ),
    ],
) -> None:
    """Print what the code of a diagnostic means and how to fix its cause."""
    from deployctl.cli.exit import USAGE, Exit
    from deployctl.core.catalogue import CATALOGUE, page
    from deployctl.core.suggest import did_you_mean

    name = code.strip().upper()
    if name.isascii() and name.isdigit():
        name = f"DC{name:0>3}"
    if name not in CATALOGUE:
        typer.echo(f"there is no diagnostic '{name}'", err=True)
        if suggestion := did_you_mean(name, CATALOGUE):
            typer.echo(suggestion, err=True)
        raise Exit(USAGE)
    typer.echo(page(name).rstrip())
