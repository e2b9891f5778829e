"""`deployctl build`: runs build and push steps, for a pipeline that deploys later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import ConnectionOptions
from deployctl.cli.project_options import BuilderOptions
from deployctl.cli.selection_options import SelectionOptions

if TYPE_CHECKING:
    from deployctl.api.session import Session


@command(
    "build",
    ("Build and push the images of all deployments", "deployctl build"),
    (
        "Build without Docker, for `deployctl deploy --images images.json`",
        "deployctl build --builder assemble --output json > images.json",
    ),
)
def build(
    ctx: CommandContext,
    selection: SelectionOptions,
    builder: BuilderOptions,
    server: ConnectionOptions,
) -> None:
    """Run the build and push steps, and print the images that they produced.

    Without a selection, the steps of all deployments run.
    """
    import os
    from contextlib import ExitStack
    from functools import cache
    from pathlib import Path

    from deployctl.app.deploying.build_steps import expected_outputs, run_build_steps, step_context
    from deployctl.app.deploying.images_file import BuildOutputs
    from deployctl.app.deploying.load import LoadOptions
    from deployctl.cli.exit import FAILED, Exit
    from deployctl.cli.project import image_pipeline, load_all, use_env_files
    from deployctl.cli.render.images import image_lines
    from deployctl.cli.server import connect, settings_of, signals
    from deployctl.steps.engine import CompletedSteps
    from deployctl.steps.placeholders import Outputs

    use_env_files(selection.env_file)
    folder = Path.cwd()
    with ExitStack() as stack:
        stop = stack.enter_context(signals(ctx))

        @cache
        def session() -> Session:
            """Opens the session at the first call; most builds need none."""
            return stack.enter_context(connect(ctx, server, stop))

        options = LoadOptions(
            selection.selection_or_all,
            environment=selection.env,
            assignments=tuple(selection.assignments),
        )
        projects = load_all(ctx, options, selection.files, session)
        for project in projects:
            expected_outputs(project, os.environ, ctx.report)
        if ctx.blocked:
            raise Exit(FAILED)
        namespace = settings_of(ctx, server).docker_build_namespace
        images = stack.enter_context(image_pipeline(ctx, builder, session, stop))
        ctx.progress.phase("building")
        done: CompletedSteps = {}
        outputs: dict[str, Outputs] = {}
        for project in projects:
            context = step_context(
                project, folder, os.environ, images, ctx.progress, stop, namespace
            )
            outputs |= run_build_steps(project, context, session, done, ctx.report)[1]
        ctx.data |= BuildOutputs(outputs, images.pins).as_json(images.images)
        ctx.print(image_lines(images.images))
