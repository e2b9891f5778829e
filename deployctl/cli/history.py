"""`deployctl history`: shows what was changed by which command."""

from __future__ import annotations

from typing import Annotated

import typer

from deployctl.cli import completion
from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.named_project import ProjectOptions, named_project
from deployctl.cli.options import ConnectionOptions, option
from deployctl.cli.selection_options import SELECTION


@command(
    "history",
    ("List the revisions of the project in prefect.yaml", "deployctl history"),
    ("Show what one revision changed", "deployctl history --revision 3fa2c1d0"),
)
def history(
    ctx: CommandContext,
    server: ConnectionOptions,
    project: ProjectOptions,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Show only revisions that changed this deployment: NAME or FLOW/NAME.",
            show_default=False,
            autocompletion=completion.existing_deployments,
        ),
    ] = None,
    revision: Annotated[
        str | None,
        option(
            "--revision ID",
            SELECTION,
            "Show what this revision changed, field by field.",
            default="list all",
        ),
    ] = None,
) -> None:
    """Show the newest 20 revisions: who changed what, when, and from which commit."""
    from datetime import UTC, datetime

    from deployctl.api.driver import run
    from deployctl.cli.render import history as render
    from deployctl.deploy.history import find_revision, read_revisions

    with named_project(ctx, project, server) as (ctx.subject, session):
        revisions = run(read_revisions(ctx.subject), session)
    if revision:
        revisions = [find_revision(ctx.subject, revisions, revision)]
    found = [each for each in revisions if name is None or each.concerns(name)]
    ctx.data |= render.history_json(ctx.subject, found)
    if revision and found:
        ctx.print(render.revision(found[0]))
    else:
        ctx.print(render.history(found, datetime.now(UTC)))
