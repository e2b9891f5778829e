"""`deployctl destroy`: deletes everything that a project has applied."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import ConnectionOptions, OutputFormat, option
from deployctl.cli.project_options import SELECTION, environment_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployctl.api.session import Session
    from deployctl.core.json_values import Json
    from deployctl.deploy.model import Key
    from deployctl.project.document import Document

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
    env: Annotated[str | None, environment_option(SELECTION)] = None,
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
    from deployctl.project.environments import environment_named, project_in

    register_secrets()
    document = None if project else _read(ctx, prefect_file, env)
    ctx.environment = document.environment if document else environment_named(env)
    with connect(ctx, server) as session:
        name = _name(ctx, document, session) if document else str(project)
        name = project_in(name, ctx.environment)
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


def _read(ctx: CommandContext, path: Path, env: str | None) -> Document:
    """The file of the project. Raises Exit if it has errors, and UsageError."""
    from deployctl.app.deploying.destroying import read_file
    from deployctl.cli.exit import FAILED, Exit
    from deployctl.cli.project_files import keep_texts

    keep_texts(ctx, path, env)
    document = read_file(path, env, os.environ, ctx.report)
    if ctx.blocked or document is None:
        raise Exit(FAILED)
    return document


def _name(ctx: CommandContext, document: Document, session: Session) -> str:
    """The name of the project of a file. Raises Exit if it has errors, and UsageError."""
    from deployctl.api.driver import run
    from deployctl.app.deploying.destroying import project_of
    from deployctl.cli.exit import FAILED, Exit
    from deployctl.templating.references import read_references

    name = project_of(
        document, ctx.report, os.environ, lambda found: run(read_references(found), session)
    )
    if ctx.blocked:
        raise Exit(FAILED)
    return name


def _kept(kept: Mapping[tuple[str, Key], str]) -> Json:
    """What stays, for the JSON output."""
    return [
        {"kind": kind, "name": "/".join(key), "reason": reason}
        for (kind, key), reason in sorted(kept.items())
    ]
