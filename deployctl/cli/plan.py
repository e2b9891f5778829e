"""`deployctl plan`: what a deploy would do."""

from __future__ import annotations

from typing import Annotated

import typer

from deployctl.cli.options import (
    ConnectionOptions,
    DeployOptions,
    ImageOptions,
    OutputOptions,
    OverrideOptions,
    SelectionOptions,
)


def plan(
    choosing: SelectionOptions,
    overriding: OverrideOptions,
    deploying: DeployOptions,
    imaging: ImageOptions,
    connecting: ConnectionOptions,
    telling: OutputOptions,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 if there are changes.")
    ] = False,
) -> None:
    """Show what `deploy` would change, and change nothing."""
    from deployctl.cli.command import run_command
    from deployctl.cli.console import write
    from deployctl.cli.exit import Exit
    from deployctl.cli.project import building, load_all, order_of, prepare_all
    from deployctl.cli.render import Format, human
    from deployctl.cli.server import session

    with run_command(
        "plan", telling.output, strict=telling.strict, show_traceback=telling.traceback
    ) as now:
        order = order_of(choosing, overriding, deploying, imaging)
        loaded = load_all(now, order, choosing.prefect_file)
        with (
            session(now, connecting) as (opened, _),
            building(now, loaded, opened, imaging, look=True) as steps,
        ):
            prepare_all(now, loaded, opened, deploying, steps)
        if telling.output is Format.HUMAN:
            write(human.plan(now.outcome()))
        if detailed_exitcode and now.plan and now.plan.needed:
            raise Exit(2)
