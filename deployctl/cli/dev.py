"""`deployctl dev`: runs a Prefect server, the project's deployments and workers on one machine."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from deployctl.cli import completion
from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import option
from deployctl.cli.project_options import DeployOptions, ImageOptions, OverrideOptions
from deployctl.cli.selection_options import SelectionOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from deployctl.api.session import Session
    from deployctl.api.settings import Settings
    from deployctl.app.deploying.load import LoadedProject
    from deployctl.core.cancellation import CancellationToken
    from deployctl.project.seeds import Seeds

_LOCAL = "Local server"


@command(
    "dev",
    ("Serve the project, with variables and blocks from a file", "deployctl dev --seed dev.yaml"),
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
            autocompletion=completion.declared_deployments,
        ),
    ] = None,
    port: Annotated[
        int, option("--port PORT", _LOCAL, "Port of the server.", min=1, max=65535)
    ] = 4200,
    seed: Annotated[
        Path | None,
        option(
            "--seed FILE",
            _LOCAL,
            "Create the variables and blocks in FILE on the server first. They stay there.",
            default="none",
        ),
    ] = None,
) -> None:
    """Start a local server, deploy the project, and run its flows as processes.

    Without a selection, all deployments are deployed. Ctrl-C ends the server, its workers and the
    runs in progress; the server's data stays.
    """
    import os
    from contextlib import ExitStack
    from functools import cache

    from deployctl.cli.exit import FAILED, Exit
    from deployctl.cli.project import use_env_files
    from deployctl.cli.server import signals

    with signals(ctx) as stop, ExitStack() as stack:
        use_env_files(selection.env_file)
        folder = Path.cwd()
        seeds = _read_seeds(ctx, seed) if seed else None

        @cache
        def session() -> Session:
            """Starts the server with its seeds at the first call. Raises Exit after errors."""
            if ctx.blocked:
                raise Exit(FAILED)
            opened = stack.enter_context(_server(ctx, folder, port, os.environ, stop))
            if seeds:
                _apply_seeds(ctx, seeds, opened)
            return opened

        projects = _load(ctx, selection, folder, session)
        ctx.print_diagnostics()
        pools = _deploy(ctx, projects, session())
        if ctx.exit_code():
            return
        ctx.print_diagnostics()
        with _workers(pools, session().settings, stop, quiet=run is not None):
            ctx.print([f"The server and its UI are at {ctx.target.partition('/api')[0]}"])
            code = _run_to_end(ctx, session(), run) if run else _wait(stop)
        raise Exit(code)


@contextmanager
def _server(
    ctx: CommandContext,
    folder: Path,
    port: int,
    environ: Mapping[str, str],
    stop: CancellationToken,
) -> Iterator[Session]:
    """A session with the project's server, which runs during the block.

    Raises LocalServerError; Interrupted if `stop` is set before the server answers.
    """
    from deployctl.api.session import Session
    from deployctl.api.settings import Settings
    from deployctl.app.operating.local_server import local_server, prefect_program
    from deployctl.flows.importer import project_python

    home = _data_folder(environ, folder)
    program = prefect_program(project_python(folder, environ), environ)
    ctx.print([f"Starting a Prefect server on port {port}; its data is in {home}"])
    with local_server(program, port, home, environ, stop) as url:
        ctx.target = url
        settings = Settings(api_url=url)
        with Session(settings, progress=ctx.progress, cancellation=stop) as session:
            yield session


def _read_seeds(ctx: CommandContext, path: Path) -> Seeds | None:
    """The seeds of a file; None if it cannot be read, which is reported."""
    import os

    from deployctl.cli.project import register_secrets
    from deployctl.project.seeds import read_seeds

    register_secrets()
    seeds, ctx.sources[str(path)] = read_seeds(path, os.environ, ctx.report)
    return seeds


def _apply_seeds(ctx: CommandContext, seeds: Seeds, session: Session) -> None:
    """Writes the seeds to the server. Raises Exit if they do not fit its types of blocks."""
    from deployctl.api.driver import run
    from deployctl.app.operating.seeds import apply_seeds
    from deployctl.cli.exit import FAILED, Exit

    done = run(apply_seeds(seeds, ctx.report), session)
    if ctx.blocked:
        raise Exit(FAILED)
    ctx.print([f"Variables and blocks: {done or 'none'}"])


_SET_DIRECTORY = "prefect.deployments.steps.set_working_directory"
_DEPLOY_OPTIONS = DeployOptions(create_pools=True)


def _load(
    ctx: CommandContext,
    selection: SelectionOptions,
    folder: Path,
    session: Callable[[], Session],
) -> list[LoadedProject]:
    """The selected deployments, or all, with a pull step that runs the code in place."""
    from dataclasses import replace

    from deployctl.cli.project import load_all, load_options

    selection = replace(selection, everything=not (selection.is_partial))
    options = load_options(
        selection, OverrideOptions(), _DEPLOY_OPTIONS, ImageOptions(skip_build=True)
    )
    pull = ({_SET_DIRECTORY: {"directory": str(folder)}},)
    options = replace(options, overrides=replace(options.overrides, pull=pull))
    return load_all(ctx, options, selection.files, session)


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

    from deployctl.app.worker.serving import WorkerContext
    from deployctl.app.worker.startup import run_worker
    from deployctl.cli.event_log import LogFormat, open_event_log
    from deployctl.worker.event_log import Level
    from deployctl.worker.runtimes import RuntimeKind
    from deployctl.worker.settings import WorkerSettings, WorkOptions

    event_log = open_event_log(LogFormat.HUMAN)
    event_log.level = Level.WARNING if quiet else Level.INFO
    context = WorkerContext(settings, WorkerSettings(query_seconds=2.0), os.environ, ())

    def serve(pool: str) -> None:
        """Runs the worker of one pool until `stop` is set; sets it at the end."""
        options = WorkOptions(pool, "deployctl dev", runtime=RuntimeKind.PROCESS, stop_jobs=True)
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
