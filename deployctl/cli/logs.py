"""`deployctl logs`: what a run printed."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from deployctl.cli.options import ConnectionOptions, OutputOptions

if TYPE_CHECKING:
    from deployctl.app.operating.lookup import ResolvedRun
    from deployctl.app.operating.runs import News
    from deployctl.core.diagnostics import Report
    from deployctl.core.json_values import Json


class Level(StrEnum):
    """Levels of Python's logging."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


def logs(
    run: Annotated[
        str, typer.Argument(help="A run's id or name, or FLOW/DEPLOYMENT for its latest run.")
    ],
    connecting: ConnectionOptions,
    telling: OutputOptions,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")
    ] = False,
    level: Annotated[
        Level, typer.Option("--level", case_sensitive=False, help="Nothing below this level.")
    ] = Level.DEBUG,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", min=1, help="Only the last so many.")
    ] = None,
) -> None:
    """Show the logs of a flow run, oldest first."""
    import logging
    from datetime import UTC, datetime

    from deployctl.api.driver import run as hold
    from deployctl.app.operating import runs
    from deployctl.app.operating.lookup import find_run
    from deployctl.cli.render import runs as render
    from deployctl.cli.server import asking

    with asking("logs", connecting, telling) as (now, opened):
        found: list[Json] = []

        def show(news: News) -> None:
            found.extend(map(render.log_json, news.logs))
            now.data |= {"run": render.run_json(news.run), "logs": found}
            now.say(render.news(news, states=follow))

        meant = hold(find_run(run, datetime.now(UTC)), opened)
        _tell_which(now.report, run, meant)
        least = logging.getLevelNamesMapping()[level.name]
        watched = runs.Watched(meant.run["id"], least, tail)
        if follow:
            now.narrator.phase(f"following {meant.run['name']}")
            runs.follow(watched, opened, show)
        else:
            show(hold(runs.look(watched), opened))
        if not found:
            _tell_empty(now.report, now.data["run"])


def _tell_which(report: Report, name: str, meant: ResolvedRun) -> None:
    """Says which of several runs is shown."""
    run = meant.run
    if meant.is_newest:
        report.note(
            "DC665",
            f"several runs are called '{name}'; this is the newest, {run['id']}",
            help="give the id of another",
        )
    if meant.is_latest:
        began = f"this is '{run['name']}', the run of {name} that began last"
        later = meant.waiting
        waits = f"; '{later['name']}' is {later['state_name']} and has not begun" if later else ""
        report.note(
            "DC667", began + waits, help=f"to see that one: {later['id']}" if later else None
        )


def _tell_empty(report: Report, run: Json) -> None:
    text = f"there are no such logs of the run '{run['name']}', which is {run['state_name']}"
    report.note("DC666", text)
