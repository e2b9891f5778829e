"""`deployctl run`: starts a flow run and, with `--watch`, follows it to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from deployctl.cli import completion
from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import ConnectionOptions, option

if TYPE_CHECKING:
    from datetime import datetime

    from deployctl.app.operating.runs import NewRun, RunUpdate
    from deployctl.core.json_values import Json

_RUN = "Run"


@dataclass(frozen=True)
class RunOptions:
    """Fields of the new run; the options are those of `prefect deployment run`."""

    param: Annotated[
        list[str],
        option(
            "--param, -p KEY=VALUE",
            _RUN,
            "Set a parameter. VALUE is JSON, or text. May be repeated.",
        ),
    ] = field(default_factory=list)
    params: Annotated[
        str | None,
        option(
            "--params JSON",
            _RUN,
            "Set parameters with a JSON object; '-' reads it from stdin.",
            default="the deployment's",
        ),
    ] = None
    job_variable: Annotated[
        list[str],
        option("--job-variable, --jv, -jv KEY=VALUE", _RUN, "Set a job variable. May be repeated."),
    ] = field(default_factory=list)
    name: Annotated[
        str | None,
        option(
            "--name, --flow-run-name NAME", _RUN, "Name of the run.", default="chosen by the server"
        ),
    ] = None
    tag: Annotated[
        list[str], option("--tag TAG", _RUN, "Add a tag to the run. May be repeated.")
    ] = field(default_factory=list)
    start_in: Annotated[
        str | None,
        option(
            "--start-in DURATION",
            _RUN,
            "Start after a delay: seconds, 1h30m, '10 minutes', PT1H30M or HH:MM[:SS].",
            default="now",
        ),
    ] = None
    start_at: Annotated[
        str | None,
        option(
            "--start-at TIME",
            _RUN,
            "Start at an ISO 8601 time, 'tomorrow 8am', 'monday 08:00' or 18:30; without "
            "offset, in this machine's time zone.",
            default="now",
        ),
    ] = None


@command(
    "run",
    ("Start a run and follow it to its end", "deployctl run etl/daily --watch"),
    (
        "Start a run in an hour with other parameters",
        "deployctl run etl/daily --param day=2030-01-31 --start-in 1h",
    ),
)
def run(
    ctx: CommandContext,
    deployment: Annotated[
        str,
        typer.Argument(
            metavar="DEPLOYMENT",
            help="FLOW/NAME, a unique name, or an id.",
            autocompletion=completion.existing_deployments,
        ),
    ],
    options: RunOptions,
    server: ConnectionOptions,
    watch: Annotated[
        bool,
        option("--watch", _RUN, "Follow the run to its end; exit with 0 only if it completes."),
    ] = False,
) -> None:
    """Start a run of a deployment, after checking its parameters."""
    import uuid

    from deployctl.api.dialect import detect
    from deployctl.api.driver import run as run_call
    from deployctl.api.states import COMPLETED
    from deployctl.app.operating import runs
    from deployctl.app.operating.status import read_waiting_reason
    from deployctl.cli.exit import DONE, FAILED, Exit
    from deployctl.cli.render import runs as render
    from deployctl.cli.server import connect

    with connect(ctx, server) as session:
        requested = _new_run(options)
        dialect = run_call(detect(session.settings.is_cloud), session)
        found, new_run = runs.check_run(deployment, requested, session, ctx.report)
        if ctx.blocked:
            raise Exit(FAILED)
        if new_run.start is None and (reason := run_call(read_waiting_reason(found), session)):
            ctx.report.add(
                "DC668",
                f"the run waits: {reason}",
                help="`deployctl status` shows what it waits for.",
            )
        if ctx.blocked:
            raise Exit(FAILED)
        ctx.print_diagnostics()
        created = run_call(runs.create_run(found, new_run, str(uuid.uuid4())), session)
        url = runs.run_url(created, session.settings, dialect.major)

        def record(run: Json) -> None:
            """Puts the run into the JSON output."""
            ctx.data["run"] = {**render.run_json(run), "url": url}

        def show(update: RunUpdate) -> None:
            """Prints an update, and records the run as it is now."""
            record(update.run)
            ctx.print(render.run_update(update))

        record(created)
        ctx.print([f"flow run {created['name']} of {found['full_name']}: {created['id']}"])
        ctx.print([url] if url else [])
        if new_run.start:
            ctx.print([f"starts at {new_run.start.isoformat(' ', 'seconds')}"])
        if watch:
            ctx.progress.phase(f"watching {created['name']}")
            final = runs.follow_run(runs.RunCursor(created["id"]), session, show)
            raise Exit(DONE if final["state_type"] == COMPLETED else FAILED)


def _new_run(options: RunOptions) -> NewRun:
    """The run that the options describe. Raises UsageError."""
    import sys

    from deployctl.app.operating.runs import NewRun
    from deployctl.project import overrides

    parameters = overrides.parse_assignments("--param", options.param)
    if options.params is not None:
        text = sys.stdin.read() if options.params == "-" else options.params
        parameters = overrides.parse_json_object("--params", text) | parameters
    return NewRun(
        parameters,
        overrides.assignment_texts(options.param),
        overrides.parse_assignments("--job-variable", options.job_variable),
        options.name,
        tuple(options.tag),
        _start_time(options),
    )


def _start_time(options: RunOptions) -> datetime | None:
    """When the run starts; None: now. Raises UsageError."""
    from datetime import UTC, datetime, timedelta

    from deployctl.cli.times import parse_delay, parse_moment
    from deployctl.core.errors import UsageError

    if options.start_in is not None and options.start_at is not None:
        raise UsageError(
            "--start-in and --start-at exclude each other", help="Leave one of them out."
        )
    if options.start_at is not None:
        moment = parse_moment(options.start_at, datetime.now())
        if moment is None:
            raise UsageError(
                f"invalid time '{options.start_at}' for --start-at",
                help="Write it as in --start-at 2030-01-31T08:00 or --start-at 'tomorrow 8am'.",
            )
        return moment
    if options.start_in is None:
        return None
    delay = parse_delay(options.start_in)
    if delay is None:
        raise UsageError(
            f"invalid duration '{options.start_in}' for --start-in",
            help="Write it as in --start-in 90, --start-in 1h30m or --start-in '10 minutes'.",
        )
    return datetime.now(UTC) + timedelta(seconds=delay)
