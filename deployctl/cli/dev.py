"""`deployctl dev`: runs a Prefect server, the project's deployments and workers on one machine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import option
from deployctl.cli.project_options import (
    DeployOptions,
    ImageOptions,
    OverrideOptions,
    SelectionOptions,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from deployctl.api.session import Session
    from deployctl.api.settings import Settings
    from deployctl.app.deploying.load import LoadedProject
    from deployctl.core.cancellation import CancellationToken

_LOCAL = "Local server"


@command(
    "dev",
    ("Deploy the project to a local server and run its schedules", "deployctl dev"),
    ("Run one deployment to its end, then exit", "deployctl dev --run etl/daily"),
)
def dev(
    ctx: CommandContext,
    selection: SelectionOptions,
    run: Annotated[
        str | None,
        option(
            "--run FLOW/NAME",
            _LOCAL,
            "Start a run of this deployment, follow it to its end, and exit.",
            default="serve until Ctrl-C",
        ),
    ] = None,
    port: Annotated[
        int, option("--port PORT", _LOCAL, "Port of the server.", min=1, max=65535)
    ] = 4200,
) -> None:
    """Start a local server, deploy the project, and run its flows as processes."""
    import os
    from pathlib import Path

    from deployctl.api.session import Session
    from deployctl.api.settings import Settings
    from deployctl.app.operating.local_server import local_server, prefect_program
    from deployctl.cli.exit import Exit
    from deployctl.cli.server import signals
    from deployctl.flows.importer import project_python

    with signals(ctx) as stop:
        folder = Path.cwd()
        projects = _load(ctx, selection, folder)
        home = _data_folder(os.environ, folder)
        program = prefect_program(project_python(folder, os.environ), os.environ)
        ctx.print([f"Starting a Prefect server on port {port}; its data is in {home}"])
        with local_server(program, port, home, os.environ, stop) as url:
            settings = Settings(api_url=url)
            ctx.target = url
            with Session(settings, progress=ctx.progress, cancellation=stop) as session:
                pools = _deploy(ctx, projects, session)
                if ctx.exit_code():
                    return
                with _workers(pools, settings, stop, quiet=run is not None):
                    ctx.print([f"The server and its UI are at {url.removesuffix('/api')}"])
                    code = _run_to_end(ctx, session, run) if run else _wait(stop)
        raise Exit(code)


_SET_DIRECTORY = "prefect.deployments.steps.set_working_directory"
_DEPLOY_OPTIONS = DeployOptions(create_pools=True)


def _load(ctx: CommandContext, selection: SelectionOptions, folder: Path) -> list[LoadedProject]:
    """The selected deployments, or all, with a pull step that runs the code in place."""
    from dataclasses import replace

    from deployctl.cli.project import load_all, load_options, use_env_files

    use_env_files(selection.env_file)
    selection = replace(selection, everything=not (selection.name or selection.entrypoint))
    options = load_options(
        selection, OverrideOptions(), _DEPLOY_OPTIONS, ImageOptions(skip_build=True)
    )
    pull = ({_SET_DIRECTORY: {"directory": str(folder)}},)
    options = replace(options, overrides=replace(options.overrides, pull=pull))
    return load_all(ctx, options, selection.prefect_file)


def _deploy(ctx: CommandContext, projects: list[LoadedProject], session: Session) -> list[str]:
    """Deploys everything and returns the names of the work pools to serve."""
    from deployctl.app.deploying.build_steps import BuildPlan
    from deployctl.cli.project import apply_all, prepare_all

    prepared = prepare_all(ctx, projects, session, _DEPLOY_OPTIONS, BuildPlan(skip=True))
    apply_all(ctx, prepared, session)
    return sorted({name for each in prepared for name in each.inputs.pools})


def _data_folder(environ: Mapping[str, str], project: Path) -> Path:
    """The folder in which the project's server keeps its data."""
    from deployctl.app.worker.runtimes import state_folder
    from deployctl.core.json_values import digest

    return state_folder(environ) / "dev" / f"{project.name}-{digest(str(project))[:8]}"


@contextmanager
def _workers(
    pools: Sequence[str], settings: Settings, stop: CancellationToken, *, quiet: bool
) -> Iterator[None]:
    """Runs one worker thread per pool during the block.

    A worker that fails sets `stop`; its error is raised when the block ends.
    """
    import os
    from concurrent.futures import ThreadPoolExecutor

    from deployctl.app.worker.startup import WorkerContext, run_worker
    from deployctl.cli.event_log import LogFormat, open_event_log
    from deployctl.worker.event_log import Level
    from deployctl.worker.runtimes import RuntimeKind
    from deployctl.worker.settings import WorkerSettings, WorkOptions

    event_log = open_event_log(LogFormat.HUMAN)
    event_log.level = Level.WARNING if quiet else Level.INFO
    context = WorkerContext(settings, WorkerSettings(query_seconds=2.0), os.environ, ())

    def serve(pool: str) -> None:
        """Runs the worker of one pool until `stop` is set; sets it at the end."""
        options = WorkOptions(pool, "deployctl dev", runtime=RuntimeKind.PROCESS)
        try:
            run_worker(options, context, event_log, stop)
        finally:
            stop.cancel()

    with ThreadPoolExecutor(max(1, len(pools)), "worker") as threads:
        workers = [threads.submit(serve, pool) for pool in pools]
        try:
            yield
        finally:
            stop.cancel()
            for worker in workers:
                worker.result()


def _run_to_end(ctx: CommandContext, session: Session, name: str) -> int:
    """Starts a run of a deployment, shows its states and logs, and returns the exit code."""
    import uuid

    from deployctl.api.driver import run
    from deployctl.api.states import COMPLETED
    from deployctl.app.operating import runs
    from deployctl.cli.exit import DONE, FAILED
    from deployctl.cli.render.runs import run_update

    deployment, new_run = runs.check_run(name, runs.NewRun(), session, ctx.report)
    created = run(runs.create_run(deployment, new_run, str(uuid.uuid4())), session)
    ctx.print([f"flow run {created['name']} of {deployment['full_name']}"])
    cursor = runs.RunCursor(created["id"])
    final = runs.follow_run(cursor, session, lambda update: ctx.print(run_update(update)))
    return DONE if final["state_type"] == COMPLETED else FAILED


def _wait(stop: CancellationToken) -> int:
    """Waits for a signal. Ctrl-C is the normal end of the command, so it returns 0."""
    from deployctl.cli.exit import DONE

    while not stop.wait(60.0):
        pass
    return DONE
