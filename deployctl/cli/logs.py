"""`deployctl logs`: shows the logs of a flow run."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from deployctl.cli import completion
from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import ConnectionOptions, option

if TYPE_CHECKING:
    from deployctl.app.operating.lookup import ResolvedRun
    from deployctl.app.operating.runs import RunUpdate
    from deployctl.core.diagnostics import Report
    from deployctl.core.json_values import Json

_LOGS = "Logs"


class LogLevel(StrEnum):
    """Levels of Python's logging, as values of `--level`."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@command(
    "logs",
    ("Show the logs of a deployment's latest run", "deployctl logs etl/daily"),
    (
        "Follow a run, from its last 20 warnings and errors on",
        "deployctl logs devious-dragon --follow --level warning --tail 20",
    ),
)
def logs(
    ctx: CommandContext,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="Name or id of a run, or FLOW/DEPLOYMENT for its latest run.",
            autocompletion=completion.existing_deployments,
        ),
    ],
    server: ConnectionOptions,
    follow: Annotated[
        bool, option("--follow, -f", _LOGS, "Show new states and logs until the run ends.")
    ] = False,
    level: Annotated[
        LogLevel, option("--level", _LOGS, "Least level to show.", case_sensitive=False)
    ] = LogLevel.DEBUG,
    tail: Annotated[
        int | None,
        option("--tail, -n N", _LOGS, "Show only the last N lines.", min=1, default="all"),
    ] = None,
) -> None:
    """Show the logs of a flow run, oldest first."""
    import logging
    from datetime import UTC, datetime

    from deployctl.api.driver import run as run_call
    from deployctl.app.operating import runs
    from deployctl.app.operating.lookup import find_run
    from deployctl.cli.render import runs as render
    from deployctl.cli.server import connect

    with connect(ctx, server) as session:
        shown: list[Json] = []

        def show(update: RunUpdate) -> None:
            """Prints an update, and adds it to the JSON output."""
            shown.extend(map(render.log_json, update.logs))
            ctx.data |= {"run": render.run_json(update.run), "logs": shown}
            ctx.print(render.run_update(update, states=follow))

        found = run_call(find_run(run, datetime.now(UTC)), session)
        _note_choice(ctx.report, run, found)
        least = logging.getLevelNamesMapping()[level.value.upper()]
        cursor = runs.RunCursor(found.run["id"], least, tail)
        if follow:
            ctx.progress.phase(f"following {found.run['name']}")
            runs.follow_run(cursor, session, show)
        else:
            show(run_call(runs.poll_run(cursor), session))
        if not shown:
            _note_empty(ctx.report, ctx.data["run"])


def _note_choice(report: Report, name: str, found: ResolvedRun) -> None:
    """Notes which of several runs is shown."""
    run = found.run
    if found.is_newest:
        report.add(
            "DC665",
            f"several runs are called '{name}'; this is the newest, {run['id']}",
            help="Give the id of another run to see that one.",
        )
    if found.is_latest:
        text = f"this is '{run['name']}', the latest run of {name} that started"
        later = found.waiting
        if later:
            text += f"; '{later['name']}' is {later['state_name']} and has not started"
        see = f"To see that run, use `deployctl logs {later['id']}`." if later else None
        report.add("DC667", text, help=see)


def _note_empty(report: Report, run: Json) -> None:
    text = f"the run '{run['name']}', which is {run['state_name']}, has no such logs"
    report.add("DC666", text)
