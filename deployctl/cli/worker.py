"""`deployctl worker`: runs the scheduled runs of work pools."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployctl.cli import completion
from deployctl.cli.command import command
from deployctl.cli.event_log import LogFormat
from deployctl.cli.options import OUTPUT, ServerOptions, option
from deployctl.worker.runtimes import RuntimeKind

if TYPE_CHECKING:
    from deployctl.cli.event_log import StderrEventLog
    from deployctl.worker.settings import WorkOptions

_WORK = "Work"
_POOL = "Work pool"
_GC_THRESHOLD = 700
"""Allocations between two garbage collections, Python's default. `main` raises it for commands that
live for a second; a process that lives for months has to collect its garbage."""


@dataclass(frozen=True)
class WorkerOptions:
    """The options of `prefect worker start`, and the runtime."""

    pool: Annotated[
        list[str],
        option(
            "--pool, -p NAME",
            _WORK,
            "Work pool to take runs from, or a pattern, e.g. 'team-*'. May be repeated.",
            autocompletion=completion.work_pools,
        ),
    ]
    action: Annotated[
        str | None,
        typer.Argument(
            metavar="start",
            hidden=True,
            show_default=False,
            help="Accepted for compatibility with `prefect worker start`.",
        ),
    ] = None
    name: Annotated[
        str | None,
        option(
            "--name, -n NAME",
            _WORK,
            "Name of this worker on the server.",
            default="deployctl HOSTNAME",
        ),
    ] = None
    shared_name: Annotated[
        bool,
        option(
            "--shared-name",
            _WORK,
            "Other workers use this name, too: leave runs alone that were claimed under it "
            "elsewhere.",
        ),
    ] = False
    work_queue: Annotated[
        list[str],
        option(
            "--work-queue, -q NAME",
            _WORK,
            "Take runs from this work queue. May be repeated.",
            default="all queues of the pool",
        ),
    ] = field(default_factory=list)
    limit: Annotated[
        int | None,
        option(
            "--limit, -l N",
            _WORK,
            "Maximum number of concurrent jobs of a pool.",
            min=1,
            default="no limit",
        ),
    ] = None
    prefetch_seconds: Annotated[
        float | None,
        option(
            "--prefetch-seconds SECONDS",
            _WORK,
            "Submit a run this long before its scheduled start.",
            min=0,
            default="PREFECT_WORKER_PREFETCH_SECONDS, else 10",
        ),
    ] = None
    run_once: Annotated[
        bool,
        option(
            "--run-once", _WORK, "Submit the runs that are due now, wait for them to end, and exit."
        ),
    ] = False
    runtime: Annotated[
        RuntimeKind | None, option("--runtime", _WORK, "Where jobs run.", default="the pool's type")
    ] = None
    with_healthcheck: Annotated[
        bool,
        option("--with-healthcheck", _WORK, "Serve /health, /ready and /metrics on port 8080."),
    ] = False
    type: Annotated[
        str | None,
        option(
            "--type, -t TYPE",
            _POOL,
            "Type that the work pool has, or gets if it is created.",
            default="the existing pool's, else kubernetes",
        ),
    ] = None
    create_pool: Annotated[
        bool,
        option(
            "--create-pool-if-not-found/--no-create-pool-if-not-found, "
            "--create-pool/--no-create-pool",
            _POOL,
            "Whether to create the work pool if it is missing.",
        ),
    ] = True
    base_job_template: Annotated[
        Path | None,
        option(
            "--base-job-template FILE",
            _POOL,
            "JSON file with the base job template. An existing work pool that has another one is "
            "updated.",
            default="the pool's own; for a new pool, its type's",
        ),
    ] = None
    sync_base_job_template: Annotated[
        bool,
        option(
            "--sync-base-job-template/--no-sync-base-job-template",
            _POOL,
            "Whether --base-job-template updates an existing work pool.",
        ),
    ] = True
    install_policy: Annotated[
        str,
        option(
            "--install-policy POLICY",
            _POOL,
            "Accepted for compatibility; deployctl installs nothing.",
            hidden=True,
        ),
    ] = "never"


@command(
    "worker",
    ("Run the work of a pool as Kubernetes Jobs", "deployctl worker --pool worker-pool"),
    (
        "Run what is due now as local processes, then exit",
        "deployctl worker --pool worker-pool --runtime process --run-once",
    ),
)
def worker(
    options: WorkerOptions,
    server: ServerOptions,
    log_format: Annotated[
        LogFormat,
        option(
            "--log-format",
            OUTPUT,
            "Format of the log on stderr. auto: human on a terminal, else json.",
        ),
    ] = LogFormat.AUTO,
    traceback: Annotated[
        bool, option("--traceback", OUTPUT, "Show the Python traceback of an error.")
    ] = False,
) -> None:
    """Run the scheduled runs of work pools, until stopped by a signal."""
    from deployctl.api.setting_sources import find_sources
    from deployctl.api.settings import load_settings
    from deployctl.app.worker.serving import WorkerContext
    from deployctl.app.worker.startup import run_worker
    from deployctl.cli.event_log import open_event_log
    from deployctl.cli.signals import stop_on_signals
    from deployctl.worker.settings import load_worker_settings

    gc.set_threshold(_GC_THRESHOLD)
    event_log = open_event_log(log_format)
    with _report_errors(event_log, traceback), stop_on_signals(lambda _text: None) as stop:
        work_options = _work_options(options)
        folder, profile = Path.cwd(), server.profile
        settings = load_settings(
            os.environ, folder, flags={"api_url": server.api_url}, profile=profile
        )
        flags = {"prefetch_seconds": options.prefetch_seconds}
        worker_settings = load_worker_settings(os.environ, folder, flags=flags, profile=profile)
        event_log.level = worker_settings.logging_level
        places = find_sources(os.environ, folder, profile)
        context = WorkerContext(settings, worker_settings, os.environ, places)
        run_worker(work_options, context, event_log, stop)


def _work_options(options: WorkerOptions) -> WorkOptions:
    """What the worker is to do. Raises UsageError and TemplateError."""
    from deployctl.core.errors import UsageError
    from deployctl.project.job_templates import read_template
    from deployctl.worker.settings import WorkOptions

    if options.action not in (None, "start"):
        raise UsageError(
            f"unknown argument '{options.action}'", help="Leave it out; only 'start' is accepted."
        )
    file = options.base_job_template
    pool, *others = dict.fromkeys(options.pool)
    return WorkOptions(
        pool=pool,
        other_pools=tuple(others),
        name=_default_name() if options.name is None else options.name,
        type=options.type,
        queues=tuple(dict.fromkeys(options.work_queue)),
        limit=options.limit,
        run_once=options.run_once,
        base_job_template=None if file is None else read_template(file),
        sync_base_job_template=options.sync_base_job_template,
        create_pool=options.create_pool,
        runtime=options.runtime,
        with_healthcheck=options.with_healthcheck,
        shared_name=options.shared_name,
    )


def _default_name() -> str:
    """A name that is the same at each start on this host. Each pod of a Deployment is a host."""
    import socket

    return f"deployctl {socket.gethostname()}"


@contextmanager
def _report_errors(event_log: StderrEventLog, show_traceback: bool) -> Iterator[None]:
    """Turns an error of the block into the last entry of the log and the exit code."""
    from deployctl.cli.context import internal_error
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
        event_log.emit(
            Level.ERROR, EventName.WORKER_FAILED, known.message, code=known.code, help=known.help
        )
        raise Exit(known.exit_code) from None
