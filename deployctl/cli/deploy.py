"""`deployctl deploy`: makes the file true."""

from __future__ import annotations

from deployctl.cli.options import (
    ConnectionOptions,
    DeployOptions,
    ImageOptions,
    OutputOptions,
    OverrideOptions,
    SelectionOptions,
)


def deploy(
    choosing: SelectionOptions,
    overriding: OverrideOptions,
    deploying: DeployOptions,
    imaging: ImageOptions,
    connecting: ConnectionOptions,
    telling: OutputOptions,
) -> None:
    """Validate, plan, build, and make the server as the file says."""
    from deployctl.app.deploying import deploy as use_case
    from deployctl.cli.command import run_command
    from deployctl.cli.console import write
    from deployctl.cli.project import building, load_all, order_of, prepare_all, show_plan
    from deployctl.cli.render import Format, human
    from deployctl.cli.server import session
    from deployctl.steps.engine import CompletedSteps

    with run_command(
        "deploy", telling.output, strict=telling.strict, show_traceback=telling.traceback
    ) as now:
        order = order_of(choosing, overriding, deploying, imaging)
        loaded = load_all(now, order, choosing.prefect_file)
        with session(now, connecting) as (opened, stop):
            with building(now, loaded, opened, imaging) as steps:
                prepared = prepare_all(now, loaded, opened, deploying, steps)
                done: CompletedSteps = {}
                prepared = [
                    use_case.build(each, opened, now.report, now.narrator, done)
                    for each in prepared
                ]
            show_plan(now, prepared)
            if telling.output is Format.HUMAN:
                write(human.plan(now.outcome()))
            for each in prepared:
                now.results += use_case.deploy(each, opened, now.report, now.narrator, now.tell)
            if stop.is_cancelled and any(result.reason for result in now.results):
                now.error = stop.interrupted()
