"""`deployctl build`: build and push steps alone, for a pipeline that deploys later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployctl.cli.options import Choosing, Connecting, Making, Telling

if TYPE_CHECKING:
    from deployctl.api.session import Session


def build(choosing: Choosing, making: Making, connecting: Connecting, telling: Telling) -> None:
    """Run the build and push steps, and print which images came of them."""
    import os
    from contextlib import ExitStack
    from functools import cache
    from pathlib import Path

    from deployctl.api.settings import load_settings
    from deployctl.app.building import expected, run_all, workplace
    from deployctl.app.built import Built
    from deployctl.app.load import Order
    from deployctl.cli.connecting import session, signals
    from deployctl.cli.loading import every_or, load_all, making_of
    from deployctl.cli.main import Exit
    from deployctl.cli.render.images import listed
    from deployctl.cli.running import running
    from deployctl.steps.engine import Done, Outputs

    with (
        running(
            "build", telling.output, strict=telling.strict, show_traceback=telling.traceback
        ) as now,
        ExitStack() as closing,
    ):
        loaded = load_all(now, Order(every_or(choosing)), choosing.prefect_file)
        for each in loaded:
            expected(each, os.environ, now.report)
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
        done: Done = {}
        outputs: dict[str, Outputs] = {}
        for each in loaded:
            place = workplace(each, here, os.environ, images, now.narrator, stop, namespace)
            outputs |= run_all(each, place, opened, done)
        now.data |= Built(outputs, images.pins).as_json(images.made)
        now.say(listed(images.made))
