"""`deployctl run`: starts a flow run and, if asked to, follows it to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from deployctl.cli.options import ConnectionOptions, OutputOptions

if TYPE_CHECKING:
    from datetime import datetime

    from deployctl.app.operating.runs import NewRun, News
    from deployctl.core.json_values import Json


@dataclass(frozen=True)
class Starting:
    """What the run is given; the options are those of `prefect deployment run`."""

    param: Annotated[
        list[str],
        typer.Option("--param", "-p", help="KEY=VALUE, the value as JSON or text; repeatable."),
    ] = field(default_factory=list)
    params: Annotated[
        str | None,
        typer.Option("--params", help="A JSON object; '-' reads it from stdin."),
    ] = None
    job_variable: Annotated[
        list[str],
        typer.Option("--job-variable", "--jv", "-jv", help="KEY=VALUE; repeatable."),
    ] = field(default_factory=list)
    name: Annotated[
        str | None,
        typer.Option("--name", "--flow-run-name", help="The run's name."),
    ] = None
    tag: Annotated[list[str], typer.Option("--tag", help="A tag; repeatable.")] = field(
        default_factory=list
    )
    start_in: Annotated[
        str | None,
        typer.Option("--start-in", help="When: seconds, PT1H30M, or [D days, ]HH:MM[:SS]."),
    ] = None
    start_at: Annotated[
        str | None,
        typer.Option("--start-at", help="When: ISO 8601, in the zone of this machine."),
    ] = None


def run(
    deployment: Annotated[str, typer.Argument(help="FLOW/DEPLOYMENT, its name alone, or its id.")],
    starting: Starting,
    connecting: ConnectionOptions,
    telling: OutputOptions,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run to its end.")] = False,
) -> None:
    """Start a run of a deployment; with --watch, exit with 0 only if it completes."""
    import uuid

    from deployctl.api.dialect import detect
    from deployctl.api.driver import run as hold
    from deployctl.api.states import COMPLETED
    from deployctl.app.operating import runs
    from deployctl.cli.exit import Exit
    from deployctl.cli.render import runs as render
    from deployctl.cli.server import asking

    with asking("run", connecting, telling) as (now, opened):
        given = _wanted(starting)
        dialect = hold(detect(opened.settings.is_cloud), opened)
        whole, wanted = runs.check_run(deployment, given, opened, now.report)
        if now.hopeless:
            raise Exit(1)
        made = hold(runs.create_run(whole, wanted, str(uuid.uuid4())), opened)
        url = runs.run_url(made, opened.settings, dialect.major)

        def note(run: Json) -> None:
            now.data["run"] = {**render.run_json(run), "url": url}

        def show(news: News) -> None:
            note(news.run)
            now.say(render.news(news))

        note(made)
        now.say([f"flow run {made['name']} of {whole['full_name']}: {made['id']}"])
        now.say([url] if url else [])
        if watch:
            now.narrator.phase(f"watching {made['name']}")
            end = runs.follow(runs.Watched(made["id"]), opened, show)
            raise Exit(0 if end["state_type"] == COMPLETED else 1)


def _wanted(given: Starting) -> NewRun:
    """The options, read. Raises UsageError."""
    import sys

    from deployctl.app.operating.runs import NewRun
    from deployctl.project import overrides

    parameters = overrides.parse_assignments("--param", given.param)
    if given.params is not None:
        text = sys.stdin.read() if given.params == "-" else given.params
        parameters = overrides.parse_json_object("--params", text) | parameters
    return NewRun(
        parameters,
        overrides.assignment_texts(given.param),
        overrides.parse_assignments("--job-variable", given.job_variable),
        given.name,
        tuple(given.tag),
        _start(given),
    )


def _start(given: Starting) -> datetime | None:
    from datetime import UTC, datetime, timedelta

    from deployctl.core.errors import UsageError
    from deployctl.project.durations import parse_duration

    if given.start_in is not None and given.start_at is not None:
        raise UsageError("--start-in and --start-at exclude each other", help="leave one out")
    if given.start_at is not None:
        try:
            return datetime.fromisoformat(given.start_at).astimezone()
        except ValueError:
            raise UsageError(
                "--start-at is no time", help="as in --start-at 2030-01-31T08:00"
            ) from None
    if given.start_in is None:
        return None
    delay = parse_duration(given.start_in)
    if delay is None:
        raise UsageError("--start-in is no span of time", help="as in --start-in 90, or PT1H30M")
    return datetime.now(UTC) + timedelta(seconds=delay)
