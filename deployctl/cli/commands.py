"""All commands. What they need beyond the command line they import when they run."""

from __future__ import annotations

from typing import Annotated

import typer

from deployctl import __version__
from deployctl.cli.build import build
from deployctl.cli.deploy import deploy
from deployctl.cli.dev import dev
from deployctl.cli.explain import explain
from deployctl.cli.logs import logs
from deployctl.cli.options import flattened
from deployctl.cli.plan import plan
from deployctl.cli.run import run
from deployctl.cli.schema import schema
from deployctl.cli.status import status
from deployctl.cli.validate import validate
from deployctl.cli.work_pool import app as work_pool
from deployctl.cli.worker import worker

app = typer.Typer(
    help="Makes what prefect.yaml says true on a Prefect server.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (deploy, plan, build, worker, dev, run, status, logs, validate, schema, explain):
    app.command()(flattened(command))
app.add_typer(work_pool, name="work-pool")


@app.callback(invoke_without_command=True)
def common(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    _prompt: Annotated[bool, typer.Option("--prompt/--no-prompt", hidden=True)] = False,
) -> None:
    """Accepts what `prefect` accepts before the name of a command."""
    if version:
        typer.echo(f"deployctl {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
