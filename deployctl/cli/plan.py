"""`deployctl plan`: shows what a deploy would do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import OUTPUT, ConnectionOptions, OutputFormat, option
from deployctl.cli.project_options import BUILD, DeployOptions, ImageOptions, OverrideOptions
from deployctl.cli.selection_options import SelectionOptions


@command(
    "plan",
    ("Show the changes of all deployments", "deployctl plan --all"),
    (
        "Fail a CI job if the server differs from the file (exit code 2)",
        "deployctl plan --all --detailed-exitcode",
    ),
)
def plan(
    ctx: CommandContext,
    selection: SelectionOptions,
    deployment: DeployOptions,
    images: ImageOptions,
    overrides: OverrideOptions,
    server: ConnectionOptions,
    run_steps: Annotated[
        bool,
        option(
            "--run-steps",
            BUILD,
            "Run the shell steps, so that what they print is known. Without it, only those that "
            "read git run.",
        ),
    ] = False,
    detailed_exitcode: Annotated[
        bool, option("--detailed-exitcode", OUTPUT, "Exit with code 2 if there are changes.")
    ] = False,
    out: Annotated[
        Path | None,
        option(
            "--out FILE",
            OUTPUT,
            "Write the plan to FILE, as JSON without secrets, for `deploy --plan`.",
            default="write none",
        ),
    ] = None,
) -> None:
    """Show what `deploy` would change, without writing anything.

    Select deployments with --all, --name or FILE:FLOW, unless the file has only one.
    """
    from deployctl.cli.console import terminal_width, write
    from deployctl.cli.exit import CHANGES_PRESENT, Exit
    from deployctl.cli.project import (
        build_plan,
        complete_plans,
        load_options,
        open_projects,
        prepare_all,
        use_env_files,
    )
    from deployctl.cli.render.layout import View
    from deployctl.cli.render.plan import plan as plan_lines

    use_env_files(selection.env_file)
    options = load_options(selection, overrides, deployment, images)
    with (
        open_projects(ctx, options, selection.files, server) as (projects, session),
        build_plan(
            ctx, projects, session, images, find_existing=True, run_shell_steps=run_steps
        ) as steps,
    ):
        prepared = prepare_all(ctx, projects, session, deployment, steps)
        complete_plans(ctx, prepared, session, deployment, applies=False)
    if out:
        from deployctl.cli.plan_file import write_plan_file

        write_plan_file(out, ctx, run_steps=run_steps)
    if ctx.format is OutputFormat.HUMAN:
        write(plan_lines(ctx.summarize(), View(terminal_width(), deployment.full)))
    if detailed_exitcode and ctx.plan and ctx.plan.needed:
        raise Exit(CHANGES_PRESENT)
