"""All commands. What they need beyond the command line they import when they run."""

from __future__ import annotations

from typing import Annotated

import typer

from deployctl.cli.deploy import deploy
from deployctl.cli.explain import explain
from deployctl.cli.options import flattened
from deployctl.cli.plan import plan
from deployctl.cli.schema import schema
from deployctl.cli.validate import validate

app = typer.Typer(
    help="Makes what prefect.yaml says true on a Prefect server.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (deploy, plan, validate, schema, explain):
    app.command()(flattened(command))


@app.callback()
def common(
    _version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    _prompt: Annotated[bool, typer.Option("--prompt/--no-prompt", hidden=True)] = False,
) -> None:
    """Accepts what `prefect` accepts before the name of a command."""
