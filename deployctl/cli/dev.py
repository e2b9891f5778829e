"""`deployctl dev`: a whole Prefect on one machine, with the project deployed and running."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from deployctl.cli.options import (
    DeployOptions,
    ImageOptions,
    OutputOptions,
    OverrideOptions,
    SelectionOptions,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from deployctl.api.session import Session
    from deployctl.api.settings import Settings
    from deployctl.app.deploying.load import LoadedProject
    from deployctl.cli.command import CommandContext
    from deployctl.core.cancellation import CancellationToken


def dev(
    choosing: SelectionOptions,
    telling: OutputOptions,
    run: Annotated[
        str | None,
        typer.Option("--run", help="Start this FLOW/DEPLOYMENT, follow it to its end, and exit."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="The server's port.")
    ] = 4200,
) -> None:
    """Start a server, deploy the project, and run its flows as processes of this machine."""
    import os
    from pathlib import Path

    from deployctl.api.session import Session
    from deployctl.api.settings import Settings
    from deployctl.app.operating.local_server import local_server, prefect_program
    from deployctl.cli.command import run_command
    from deployctl.cli.exit import Exit
    from deployctl.cli.signals import stopping
    from deployctl.flows.importer import project_python

    with (
        run_command(
            "dev", telling.output, strict=telling.strict, show_traceback=telling.traceback
        ) as now,
        stopping(lambda text: now.narrator.output("deployctl", text)) as stop,
    ):
        here = Path.cwd()
        loaded = _load(now, choosing, here)
        home = _home(os.environ, here)
        program = prefect_program(project_python(here, os.environ), os.environ)
        now.say([f"Starting a Prefect server on port {port}; its data is in {home}"])
        with local_server(program, port, home, os.environ, stop) as url:
            settings = Settings(api_url=url)
            now.target = url
            with Session(settings, progress=now.narrator, cancellation=stop) as opened:
                pools = _deploy(now, loaded, opened)
                if now.exit_code():
                    return
                with _workers(pools, settings, stop, quiet=run is not None):
                    now.say([f"The server and its UI are at {url.removesuffix('/api')}"])
                    code = _follow(now, opened, run) if run else _wait(stop)
        raise Exit(code)


_SET_DIRECTORY = "prefect.deployments.steps.set_working_directory"
_DEPLOYING = DeployOptions(create_pools=True)


def _load(now: CommandContext, choosing: SelectionOptions, here: Path) -> list[LoadedProject]:
    """The chosen deployments, or all; their flows are found where they are, without a copy."""
    from dataclasses import replace

    from deployctl.cli.project import load_all, order_of

    every = replace(choosing, everything=not (choosing.name or choosing.entrypoint))
    order = order_of(every, OverrideOptions(), _DEPLOYING, ImageOptions(skip_build=True))
    local = replace(order.overrides, pull=({_SET_DIRECTORY: {"directory": str(here)}},))
    return load_all(now, replace(order, overrides=local), choosing.prefect_file)


def _deploy(now: CommandContext, loaded: list[LoadedProject], session: Session) -> list[str]:
    """Deploys everything, and gives the names of the work pools that runs will come from."""
    from deployctl.app.deploying.build_steps import BuildPlan
    from deployctl.app.deploying.deploy import deploy
    from deployctl.cli.project import prepare_all

    prepared = prepare_all(now, loaded, session, _DEPLOYING, BuildPlan(skip=True))
    for each in prepared:
        now.results += deploy(each, session, now.report, now.narrator, now.tell)
    return sorted({name for each in prepared for name in each.inputs.pools})


def _home(environ: Mapping[str, str], project: Path) -> Path:
    """Where the project's server keeps its data."""
    from deployctl.app.worker.runtimes import state_folder
    from deployctl.core.json_values import digest

    return state_folder(environ) / "dev" / f"{project.name}-{digest(str(project))[:8]}"


@contextmanager
def _workers(
    pools: Sequence[str], settings: Settings, stop: CancellationToken, *, quiet: bool
) -> Iterator[None]:
    """A worker for each pool during the block; errors of theirs end it."""
    import os
    from concurrent.futures import ThreadPoolExecutor

    from deployctl.app.worker.startup import WorkerContext, run_worker
    from deployctl.cli.event_log import LogFormat, open_journal
    from deployctl.worker.event_log import Level
    from deployctl.worker.runtimes import RuntimeKind
    from deployctl.worker.settings import WorkerSettings, WorkOptions

    journal = open_journal(LogFormat.HUMAN)
    journal.level = Level.WARNING if quiet else Level.INFO
    around = WorkerContext(settings, WorkerSettings(query_seconds=2.0), os.environ, ())

    def serve(pool: str) -> None:
        options = WorkOptions(pool, "deployctl dev", runtime=RuntimeKind.PROCESS)
        try:
            run_worker(options, around, journal, stop)
        finally:
            stop.cancel()

    with ThreadPoolExecutor(max(1, len(pools)), "worker") as threads:
        working = [threads.submit(serve, pool) for pool in pools]
        try:
            yield
        finally:
            stop.cancel()
            for each in working:
                each.result()


def _follow(now: CommandContext, session: Session, deployment: str) -> int:
    """Starts a run, shows its states and log, and gives the exit code that fits its end."""
    import uuid

    from deployctl.api.driver import run as hold
    from deployctl.api.states import COMPLETED
    from deployctl.app.operating import runs
    from deployctl.cli.render import runs as render

    whole, wanted = runs.check_run(deployment, runs.NewRun(), session, now.report)
    made = hold(runs.create_run(whole, wanted, str(uuid.uuid4())), session)
    now.say([f"flow run {made['name']} of {whole['full_name']}"])
    end = runs.follow(runs.Watched(made["id"]), session, lambda news: now.say(render.news(news)))
    return 0 if end["state_type"] == COMPLETED else 1


def _wait(stop: CancellationToken) -> int:
    """Until somebody ends it, which is how it is meant to end."""
    while not stop.wait(60.0):
        pass
    return 0
