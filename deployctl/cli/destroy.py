"""`deployctl destroy`: deletes everything that a project has applied."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import ConnectionOptions, OutputFormat, option
from deployctl.cli.project_options import SELECTION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployctl.api.session import Session
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
    prefect_file: Annotated[
        Path,
        option("--prefect-file FILE", SELECTION, "Destroy the project that FILE names."),
    ] = Path("prefect.yaml"),
    project: Annotated[
        str | None,
        option(
            "--project NAME",
            SELECTION,
            "Destroy this project. No file is read.",
            default="the file's 'name'",
        ),
    ] = None,
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
    from deployctl.cli.project import register_secrets
    from deployctl.cli.render.layout import View
    from deployctl.cli.render.plan import plan as plan_lines
    from deployctl.cli.server import connect

    register_secrets()
    with connect(ctx, server) as session:
        name = project or _name(ctx, prefect_file, session)
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


def _name(ctx: CommandContext, path: Path, session: Session) -> str:
    """The name of the project of a file. Raises Exit if the file has errors, and UsageError."""
    from deployctl.api.driver import run
    from deployctl.app.deploying.destroying import project_of
    from deployctl.cli.exit import FAILED, Exit
    from deployctl.cli.project_files import read_text
    from deployctl.templating.references import read_references

    ctx.sources[str(path)] = read_text(path)
    name = project_of(
        path, ctx.report, os.environ, lambda found: run(read_references(found), session)
    )
    if ctx.blocked or name is None:
        raise Exit(FAILED)
    return name


def _kept(kept: Mapping[tuple[str, Key], str]) -> Json:
    """What stays, for the JSON output."""
    return [
        {"kind": kind, "name": "/".join(key), "reason": reason}
        for (kind, key), reason in sorted(kept.items())
    ]
