"""`deployctl deploy`: applies prefect.yaml to the server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import ConnectionOptions, OutputFormat, option
from deployctl.cli.project_options import (
    DEPLOY,
    DeployOptions,
    HookOptions,
    ImageOptions,
    OverrideOptions,
)
from deployctl.cli.selection_options import SelectionOptions


@command(
    "deploy",
    ("Apply all deployments in prefect.yaml", "deployctl deploy --all"),
    (
        "Apply one deployment with another image and schedule",
        'deployctl deploy -n etl/daily --image registry.example/etl:2 --cron "0 6 * * 1-5"',
    ),
)
def deploy(
    ctx: CommandContext,
    selection: SelectionOptions,
    deployment: DeployOptions,
    images: ImageOptions,
    overrides: OverrideOptions,
    server: ConnectionOptions,
    hook: HookOptions,
    plan_file: Annotated[
        Path | None,
        option(
            "--plan FILE",
            DEPLOY,
            "Stop before the first build or write unless the plan is still the one in FILE, "
            "written by `plan --out` with the same options.",
            default="any plan",
        ),
    ] = None,
) -> None:
    """Apply prefect.yaml to the server: validate, plan, build images, write the changes.

    Select deployments with --all, --name or FILE:FLOW, unless the file has only one.
    """
    from deployctl.app.deploying.deploy import build
    from deployctl.cli.console import terminal_width, write
    from deployctl.cli.hook import as_hook
    from deployctl.cli.project import (
        apply_all,
        build_plan,
        complete_plans,
        load_options,
        open_projects,
        prepare_all,
        use_env_files,
    )
    from deployctl.cli.render.layout import View
    from deployctl.cli.render.plan import plan as plan_lines
    from deployctl.steps.engine import CompletedSteps

    ctx.full = deployment.full
    with as_hook(ctx, hook), ExitStack() as stack:
        use_env_files(selection.env_file)
        options = load_options(selection, overrides, deployment, images)
        approved = None
        checks: list[Callable[[], None]] = []
        if plan_file:
            from deployctl.cli.plan_file import check_plan_file, read_plan_file

            approved = read_plan_file(plan_file)
        opened = open_projects(ctx, options, selection.files, server)
        projects, session = stack.enter_context(opened)
        with build_plan(
            ctx,
            projects,
            session,
            images,
            find_existing=approved is not None,
            run_shell_steps=approved is not None and approved.run_steps,
        ) as steps:
            prepared = prepare_all(ctx, projects, session, deployment, steps)
            if approved:
                complete_plans(ctx, prepared, session, deployment, applies=False)
                checks.append(check_plan_file(approved, ctx))
            done: CompletedSteps = {}
            prepared = [build(each, session, ctx.report, ctx.progress, done) for each in prepared]
        prepared = complete_plans(ctx, prepared, session, deployment, applies=True)
        if ctx.format is OutputFormat.HUMAN:
            write(plan_lines(ctx.summarize(), View(terminal_width(), deployment.full)))
        apply_all(ctx, prepared, session, checks)
        if session.cancellation.is_cancelled and any(result.reason for result in ctx.results):
            raise session.cancellation.interrupted()
