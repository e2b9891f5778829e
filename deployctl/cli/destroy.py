"""`deployctl destroy`: deletes everything that a project has applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.named_project import ProjectOptions, named_project
from deployctl.cli.options import ConnectionOptions, OutputFormat, option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployctl.core.json_values import Json
    from deployctl.deploy.model import Key

_CONFIRMATION = "Confirmation"


@command(
    "destroy",
    ("Show what would be deleted, and delete it after a prompt", "deployctl destroy"),
    (
        "Delete a project whose file is gone, without a prompt, as in CI",
        "deployctl destroy --project etl-pr-12 --yes",
    ),
)
def destroy(
    ctx: CommandContext,
    server: ConnectionOptions,
    project: ProjectOptions,
    yes: Annotated[bool, option("--yes, -y", _CONFIRMATION, "Delete without a prompt.")] = False,
) -> None:
    """Delete everything that the project has applied, and its record.

    Prompts on a terminal; elsewhere, --yes is required. What other projects declare or use stays.
    """
    from deployctl.app.deploying.destroying import destroy as run_destroy
    from deployctl.app.deploying.destroying import plan_destroy, report_destroy
    from deployctl.cli.confirm import check_terminal, confirm
    from deployctl.cli.console import terminal_width, write
    from deployctl.cli.exit import FAILED, Exit
    from deployctl.cli.render.layout import View
    from deployctl.cli.render.plan import plan as plan_lines

    with named_project(ctx, project, server) as (name, session):
        ctx.progress.phase("reading the server")
        planned = plan_destroy(name, session)
        report_destroy(planned, ctx.report)
        ctx.plan, ctx.subject = planned.plan, f"the project '{name}'"
        ctx.target += f" ({planned.dialect})"
        ctx.data |= {"project": name, "kept": _kept(planned.kept)}
        ctx.progress.close()
        if ctx.blocked:
            raise Exit(FAILED)
        if ctx.format is OutputFormat.HUMAN:
            write(plan_lines(ctx.summarize(), View(terminal_width())))
            ctx.print_diagnostics()
        if not yes and planned.plan.changes:
            check_terminal(f"destroying the project '{name}'")
            if not confirm(f"Delete all of this for good, from the project '{name}'?"):
                ctx.print(["Nothing was deleted."])
                raise Exit(FAILED)
        ctx.results += run_destroy(planned, session, ctx.report, ctx.progress, ctx.show_result)
        if session.cancellation.is_cancelled and any(result.reason for result in ctx.results):
            raise session.cancellation.interrupted()


def _kept(kept: Mapping[tuple[str, Key], str]) -> Json:
    """What stays, for the JSON output."""
    return [
        {"kind": kind, "name": "/".join(key), "reason": reason}
        for (kind, key), reason in sorted(kept.items())
    ]
