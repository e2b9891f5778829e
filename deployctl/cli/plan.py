"""`deployctl plan`: what a deploy would do."""

from __future__ import annotations

from typing import Annotated

import typer

from deployctl.cli.options import Choosing, Connecting, Deploying, Imaging, Overriding, Telling


def plan(
    choosing: Choosing,
    overriding: Overriding,
    deploying: Deploying,
    imaging: Imaging,
    connecting: Connecting,
    telling: Telling,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 if there are changes.")
    ] = False,
) -> None:
    """Show what `deploy` would change, and change nothing."""
    from deployctl.cli.connecting import session
    from deployctl.cli.console import write
    from deployctl.cli.loading import building, load_all, order_of, prepare_all
    from deployctl.cli.main import Exit
    from deployctl.cli.render import Format, human
    from deployctl.cli.running import running

    with running(
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
