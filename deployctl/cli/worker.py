"""`deployctl worker`: runs what a work pool schedules."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployctl.cli.event_log import LogFormat
from deployctl.cli.options import ServerOptions, texts
from deployctl.worker.runtimes import RuntimeKind

if TYPE_CHECKING:
    from deployctl.cli.event_log import LineJournal
    from deployctl.worker.settings import WorkOptions

_POOL = "A pool that is missing"
_GC_THRESHOLD = 700
"""Objects until garbage is looked for, as Python has it: a process that lives for months must not
keep the garbage that a command of a second may."""


@dataclass(frozen=True)
class Working:
    """The options of `prefect worker start`, and where jobs run."""

    pool: Annotated[str, texts("--pool", "-p", help="The work pool.")]
    action: Annotated[
        str | None, typer.Argument(metavar="[start]", hidden=True, show_default=False)
    ] = None
    name: Annotated[
        str | None,
        texts(
            "--name",
            "-n",
            help="What the server knows this worker as. Default: 'deployctl' and the host's name.",
        ),
    ] = None
    work_queue: Annotated[
        list[str],
        texts(
            "--work-queue",
            "-q",
            help="A queue to take runs from; may be repeated. Default: all of the pool.",
        ),
    ] = field(default_factory=list)
    limit: Annotated[int | None, texts("--limit", "-l", min=1, help="Jobs at once, at most.")] = (
        None
    )
    prefetch_seconds: Annotated[
        float | None,
        texts(
            "--prefetch-seconds",
            min=0,
            help="How long before its start a run is submitted. Default: 10",
        ),
    ] = None
    run_once: Annotated[
        bool, typer.Option("--run-once", help="Do what is due now, wait for its end, and exit.")
    ] = False
    runtime: Annotated[
        RuntimeKind | None,
        texts("--runtime", help="Where jobs run. Default: what fits the pool's type."),
    ] = None
    with_healthcheck: Annotated[
        bool,
        typer.Option("--with-healthcheck", help="Serve /health, /ready and /metrics on port 8080."),
    ] = False
    type: Annotated[
        str | None,
        texts(
            "--type",
            "-t",
            help="The pool's type. Default: the one that it has, or kubernetes.",
            rich_help_panel=_POOL,
        ),
    ] = None
    create_pool: Annotated[
        bool,
        typer.Option(
            "--create-pool-if-not-found/--no-create-pool-if-not-found",
            "--create-pool/--no-create-pool",
            help="Whether to create it.",
            rich_help_panel=_POOL,
        ),
    ] = True
    base_job_template: Annotated[
        Path | None,
        texts(
            "--base-job-template",
            help="A JSON file with the template that it gets.",
            rich_help_panel=_POOL,
        ),
    ] = None
    install_policy: Annotated[
        str, typer.Option("--install-policy", hidden=True, help="Accepted; nothing is installed.")
    ] = "never"


def worker(
    working: Working,
    locating: ServerOptions,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", help="For whom the journal on stderr is.")
    ] = LogFormat.AUTO,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where in deployctl an error arose.")
    ] = False,
) -> None:
    """Run what a work pool schedules, until it is asked to stop."""
    from deployctl.api.setting_sources import find_sources
    from deployctl.api.settings import load_settings
    from deployctl.app.worker.startup import WorkerContext, run_worker
    from deployctl.cli.event_log import open_journal
    from deployctl.cli.signals import stopping
    from deployctl.worker.settings import load_worker_settings

    gc.set_threshold(_GC_THRESHOLD)
    journal = open_journal(log_format)
    with told(journal, traceback), stopping(lambda _text: None) as stop:
        options = options_of(working)
        here, profile = Path.cwd(), locating.profile
        server = load_settings(
            os.environ, here, flags={"api_url": locating.api_url}, profile=profile
        )
        flags = {"prefetch_seconds": working.prefetch_seconds}
        settings = load_worker_settings(os.environ, here, flags=flags, profile=profile)
        journal.level = settings.logging_level
        places = find_sources(os.environ, here, profile)
        run_worker(options, WorkerContext(server, settings, os.environ, places), journal, stop)


def options_of(working: Working) -> WorkOptions:
    """What the options ask for. Raises UsageError and TemplateError."""
    from deployctl.app.job_templates import read_template
    from deployctl.core.errors import UsageError
    from deployctl.worker.settings import WorkOptions

    if working.action not in (None, "start"):
        raise UsageError(f"a worker cannot '{working.action}'", help="Leave the word out.")
    file = working.base_job_template
    return WorkOptions(
        pool=working.pool,
        name=default_name() if working.name is None else working.name,
        type=working.type,
        queues=tuple(dict.fromkeys(working.work_queue)),
        limit=working.limit,
        run_once=working.run_once,
        base_job_template=None if file is None else read_template(file),
        create_pool=working.create_pool,
        runtime=working.runtime,
        with_healthcheck=working.with_healthcheck,
    )


def default_name() -> str:
    """The same for every start on this host: a pod of a Deployment is a host of its own."""
    import socket

    return f"deployctl {socket.gethostname()}"


@contextmanager
def told(journal: LineJournal, show_traceback: bool) -> Iterator[None]:
    """Runs the block; an error becomes the journal's last line and the exit code that fits."""
    from deployctl.cli.command import internal_error
    from deployctl.cli.exit import Exit
    from deployctl.core.errors import DeployctlError, Interrupted
    from deployctl.worker.event_log import EventName, Level

    try:
        yield
    except Interrupted as stopped:
        raise Exit(stopped.exit_code) from None
    except Exception as error:
        if show_traceback:
            raise
        known = error if isinstance(error, DeployctlError) else internal_error(error)
        journal.emit(
            Level.ERROR, EventName.WORKER_FAILED, known.message, code=known.code, help=known.help
        )
        raise Exit(known.exit_code) from None
