"""The Typer application with all commands.

A command imports what it needs when it runs, so that `deployctl --help` stays quick.
"""

from __future__ import annotations

from typing import Annotated

import typer

from deployctl import __version__
from deployctl.cli.build import build
from deployctl.cli.deploy import deploy
from deployctl.cli.destroy import destroy
from deployctl.cli.dev import dev
from deployctl.cli.doctor import doctor
from deployctl.cli.explain import explain
from deployctl.cli.export import export
from deployctl.cli.help import HelpGroup
from deployctl.cli.history import history
from deployctl.cli.init import init
from deployctl.cli.logs import logs
from deployctl.cli.manifests import app as manifests
from deployctl.cli.metrics import metrics
from deployctl.cli.plan import plan
from deployctl.cli.run import run
from deployctl.cli.schema import schema
from deployctl.cli.status import status
from deployctl.cli.validate import validate
from deployctl.cli.work_pool import app as work_pool
from deployctl.cli.worker import worker

_GROUPS = {
    "Deploy": (deploy, plan, build, validate, history, destroy, export, init),
    "Run": (worker, dev, run, status, logs, doctor, metrics),
    "Reference": (schema, explain),
}

app = typer.Typer(
    cls=HelpGroup,
    help="Deploy prefect.yaml to a Prefect server, and run its flows on Kubernetes.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="# Show what a deploy would change, then apply it\n"
    "deployctl plan --all\n"
    "deployctl deploy --all\n"
    "# Take runs from a work pool\n"
    "deployctl worker --pool worker-pool",
)
for _group, _commands in _GROUPS.items():
    for _command in _commands:
        _command.add_to(app, _group)
app.add_typer(work_pool, name="work-pool", rich_help_panel="Run")
app.add_typer(manifests, name="manifests", rich_help_panel="Run")


@app.callback(invoke_without_command=True)
def common(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    _prompt: Annotated[
        bool,
        typer.Option(
            "--prompt/--no-prompt",
            hidden=True,
            help="Accepted for compatibility; deployctl never prompts.",
        ),
    ] = False,
) -> None:
    """Accept the options that `prefect` takes before the name of a command."""
    if version:
        typer.echo(f"deployctl {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
