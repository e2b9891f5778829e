"""`deployctl rollback`: brings an earlier state of a project back."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.named_project import ProjectOptions, named_project
from deployctl.cli.options import ConnectionOptions, OutputFormat, option

_CONFIRMATION = "Confirmation"


@command(
    "rollback",
    ("Show what undoes the newest revision, and do it after a prompt", "deployctl rollback"),
    (
        "Bring back the state after a revision, without a prompt, as in CI",
        "deployctl rollback 3fa2c1d0 --yes",
    ),
)
def rollback(
    ctx: CommandContext,
    server: ConnectionOptions,
    project: ProjectOptions,
    revision: Annotated[
        str | None,
        typer.Argument(
            metavar="REVISION",
            help="Bring back the state after this revision (see `history`), instead of the state "
            "before the newest one.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, option("--yes, -y", _CONFIRMATION, "Write without a prompt.")] = False,
) -> None:
    """Change the server back to an earlier state; prefect.yaml stays as it is.

    Images are named by digest, so code goes back, too. Prompts on a terminal; elsewhere, --yes is
    required.
    """
    from deployctl.app.deploying.rolling_back import plan_rollback, report_rollback, roll_back
    from deployctl.cli.confirm import check_terminal, confirm
    from deployctl.cli.console import terminal_width, write
    from deployctl.cli.exit import FAILED, Exit
    from deployctl.cli.render.layout import View
    from deployctl.cli.render.plan import plan as plan_lines

    with named_project(ctx, project, server) as (name, session):
        ctx.progress.phase("reading the server")
        planned = plan_rollback(name, revision, session)
        report_rollback(planned, ctx.report)
        ctx.plan, ctx.subject = planned.plan, f"the project '{name}'"
        ctx.target += f" ({planned.dialect})"
        ctx.data |= {"project": name, "undone": [each.id for each in planned.undone]}
        ctx.progress.close()
        if ctx.blocked:
            raise Exit(FAILED)
        if ctx.format is OutputFormat.HUMAN:
            write(plan_lines(ctx.summarize(), View(terminal_width())))
            ctx.print_diagnostics()
        if not planned.plan.needed:
            return
        if not yes:
            check_terminal(f"rolling back the project '{name}'")
            if not confirm(f"Change this in the project '{name}'?"):
                ctx.print(["Nothing was changed."])
                raise Exit(FAILED)
        ctx.results += roll_back(
            planned, revision, session, ctx.report, ctx.progress, ctx.show_result, os.environ
        )
        if session.cancellation.is_cancelled and any(result.reason for result in ctx.results):
            raise session.cancellation.interrupted()
