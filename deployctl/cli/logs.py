"""`deployctl logs`: what a run printed."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from deployctl.cli.options import Connecting, Telling

if TYPE_CHECKING:
    from deployctl.app.runs import News
    from deployctl.core.values import Json


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
    connecting: Connecting,
    telling: Telling,
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

    from deployctl.api.driver import run as hold
    from deployctl.app import runs
    from deployctl.app.finding import find_run
    from deployctl.cli.connecting import asking
    from deployctl.cli.render import runs as render

    with asking("logs", connecting, telling) as (now, opened):
        found: list[Json] = []

        def show(news: News) -> None:
            found.extend(map(render.log_json, news.logs))
            now.data |= {"run": render.run_json(news.run), "logs": found}
            now.say(render.news(news, states=follow))

        meant, one_of_several = hold(find_run(run), opened)
        if one_of_several:
            now.report.note(
                "DC665",
                f"several runs are called '{run}'; this is the newest, {meant['id']}",
                help="give the id of another",
            )
        least = logging.getLevelNamesMapping()[level.name]
        watched = runs.Watched(meant["id"], least, tail)
        if follow:
            now.narrator.phase(f"following {meant['name']}")
            runs.follow(watched, opened, show)
        else:
            show(hold(runs.look(watched), opened))
        if not found:
            name, state = meant["name"], now.data["run"]["state_name"]
            now.report.note(
                "DC666", f"there are no such logs of the run '{name}', which is {state}"
            )
