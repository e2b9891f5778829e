"""`deployctl doctor`: shows what is wrong with a set-up, and how to fix it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from deployctl.cli import completion
from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import ServerOptions, option
from deployctl.cli.selection_options import environment_option

_CHECKS = "Checks"


@command(
    "doctor",
    ("Check the project, its server, work pools, images and cluster", "deployctl doctor"),
    ("Check what one work pool needs", "deployctl doctor --pool worker-pool"),
)
def doctor(
    ctx: CommandContext,
    server: ServerOptions,
    pool: Annotated[
        str | None,
        option(
            "--pool, -p NAME",
            _CHECKS,
            "Check this work pool.",
            default="those of the file, else all",
            autocompletion=completion.work_pools,
        ),
    ] = None,
    prefect_file: Annotated[
        Path, option("--prefect-file FILE", _CHECKS, "Check this file.")
    ] = Path("prefect.yaml"),
    env: Annotated[str | None, environment_option(_CHECKS)] = None,
    timeout: Annotated[
        float, option("--timeout SECONDS", _CHECKS, "Maximum time for each request.", min=0.1)
    ] = 5.0,
) -> None:
    """Check the set-up, and show the cause of each fault and the command that fixes it.

    Changes nothing. What cannot be checked here, or is optional, is skipped. Exits with 1 if a
    check failed.
    """
    import os

    from deployctl.app.doctor.examine import Examination, examine
    from deployctl.app.doctor.model import CheckStatus
    from deployctl.cli.exit import FAILED, Exit
    from deployctl.cli.project import register_secrets
    from deployctl.cli.render import doctor as render
    from deployctl.cli.server import signals

    register_secrets()
    ctx.progress.phase("checking")
    what = Examination(os.environ, prefect_file, server.api_url, server.profile, pool, env, timeout)
    with signals(ctx) as stop:
        checks = examine(what, stop)
    ctx.data |= render.doctor_json(checks)
    ctx.print(render.doctor(checks))
    if any(check.status is CheckStatus.FAILED for check in checks):
        raise Exit(FAILED)
