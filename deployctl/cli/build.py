"""`deployctl build`: build and push steps alone, for a pipeline that deploys later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployctl.cli.options import BuilderOptions, ConnectionOptions, OutputOptions, SelectionOptions

if TYPE_CHECKING:
    from deployctl.api.session import Session


def build(
    choosing: SelectionOptions,
    making: BuilderOptions,
    connecting: ConnectionOptions,
    telling: OutputOptions,
) -> None:
    """Run the build and push steps, and print which images came of them."""
    import os
    from contextlib import ExitStack
    from functools import cache
    from pathlib import Path

    from deployctl.api.settings import load_settings
    from deployctl.app.deploying.build_steps import expected_outputs, run_build_steps, step_context
    from deployctl.app.deploying.images_file import BuildOutputs
    from deployctl.app.deploying.load import LoadOptions
    from deployctl.cli.command import run_command
    from deployctl.cli.exit import Exit
    from deployctl.cli.project import every_or, load_all, making_of
    from deployctl.cli.render.images import listed
    from deployctl.cli.server import session, signals
    from deployctl.steps.engine import CompletedSteps, Outputs

    with (
        run_command(
            "build", telling.output, strict=telling.strict, show_traceback=telling.traceback
        ) as now,
        ExitStack() as closing,
    ):
        loaded = load_all(now, LoadOptions(every_or(choosing)), choosing.prefect_file)
        for each in loaded:
            expected_outputs(each, os.environ, now.report)
        if now.hopeless:
            raise Exit(1)
        here = Path.cwd()
        settings = load_settings(os.environ, here, profile=connecting.profile)
        namespace = settings.docker_build_namespace
        stop = closing.enter_context(signals(now))

        @cache
        def opened() -> Session:
            return closing.enter_context(session(now, connecting, stop))[0]

        images = closing.enter_context(making_of(now, making, opened, stop))
        now.narrator.phase("building")
        done: CompletedSteps = {}
        outputs: dict[str, Outputs] = {}
        for each in loaded:
            place = step_context(each, here, os.environ, images, now.narrator, stop, namespace)
            outputs |= run_build_steps(each, place, opened, done)
        now.data |= BuildOutputs(outputs, images.pins).as_json(images.images)
        now.say(listed(images.images))
