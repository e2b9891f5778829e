"""Serves one work pool: connects to server and runtime, then runs the service.

The start is retried, with the health server already up, until both have answered once: a server
that comes up later than its workers must not cost restarts. Only errors that no retry can cure end
the start.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from deployctl.api.calls import Request
from deployctl.api.dialect import Dialect, detect
from deployctl.api.driver import run_inline
from deployctl.api.session import Session
from deployctl.api.setting_sources import Source
from deployctl.api.settings import Settings
from deployctl.app.worker.runtimes import RuntimeFactory, kind_for
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import ApiError
from deployctl.core.json_values import Json
from deployctl.core.retry import Backoff
from deployctl.jobs.base_job_templates import base_job_template
from deployctl.jobs.environment import inherited_settings
from deployctl.worker.control.executor import ActionExecutor
from deployctl.worker.control.reconciler import Reconciler
from deployctl.worker.error_kinds import error_kind
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.health.exporter import Exporter
from deployctl.worker.health.health_state import (
    CombinedHealth,
    HealthMonitor,
    Loop,
    heartbeat_while_waiting,
)
from deployctl.worker.health.metrics import Metrics
from deployctl.worker.model import (
    Job,
    JobChanged,
    JobsListed,
    JobVanished,
    Leadership,
    Runtime,
    RuntimeUnavailable,
    RuntimeUpdate,
)
from deployctl.worker.server import events, pool
from deployctl.worker.server.flow_logs import FlowLogs
from deployctl.worker.server.job_specs import JobSpecBuilder, TTLCache
from deployctl.worker.server.run_reporter import RunReporter
from deployctl.worker.service import Service
from deployctl.worker.settings import WorkerSettings, WorkOptions
from deployctl.worker.timings import Timings

_STOP_JOBS_TIMEOUT = 45.0
"""Seconds: more than a runtime takes to kill a Job that ignores SIGTERM."""


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What a worker gets from the process that it runs in."""

    settings: Settings
    worker: WorkerSettings
    environ: Mapping[str, str]
    sources: Sequence[Source]
    """Sources of settings, highest precedence first: Jobs inherit them."""


@dataclass(frozen=True, slots=True)
class WorkerDependencies:
    """What has to be known before the service can run."""

    dialect: Dialect
    pool: Json
    runtime: Runtime
    leadership: Leadership


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """What all pools of a worker share."""

    options: WorkOptions
    context: WorkerContext
    raw_event_log: EventLog
    """Without metrics."""
    event_log: EventLog
    """For what concerns no single pool, if there are several."""
    metrics: Metrics
    """Of the pool, or, with several, of what concerns no single one."""
    exporter: Exporter
    health: CombinedHealth
    session: Session
    """For all requests but heartbeats. A pool gets a scope of it."""
    heartbeat_session: Session
    """For heartbeats alone, so that a burst of other requests does not delay them."""
    runtimes: RuntimeFactory
    shutdown_requested: CancellationToken
    timings: Timings


def serve_pool(
    process: WorkerProcess,
    options: WorkOptions,
    metrics: Metrics,
    event_log: EventLog,
    shutdown_requested: CancellationToken,
) -> None:
    """Serve one pool, `options.pool`, until `shutdown_requested`; raises like `run_worker`.

    `metrics` and `event_log` are the pool's own.
    """
    monitor, timings, context = metrics.monitor, process.timings, process.context
    starting = scoped_session(process.heartbeat_session, shutdown_requested)

    def connect() -> WorkerDependencies:
        """One try."""
        return _connect(process, options, event_log, starting)

    if options.run_once:
        dependencies = connect()
    else:
        dependencies = _retry(connect, monitor, event_log, shutdown_requested, timings)
    monitor.clear_fault(Loop.START)
    event_log.emit(
        Level.INFO,
        EventName.WORKER_STARTED,
        f"worker '{options.name}' takes runs of work pool '{options.pool}'",
        type=dependencies.pool["type"],
        owner=dependencies.runtime.owner,
        pool=options.pool,
        worker=options.name,
    )
    loops_cancelled = CancellationToken()
    session = scoped_session(process.session, loops_cancelled)
    job_specs = _job_specs(options, context, dependencies, session, timings)
    reporter = _reporter(options, context, dependencies, event_log, session)
    reconciler = Reconciler(
        leadership=dependencies.leadership,
        reporter=reporter,
        event_log=event_log,
        metrics=metrics,
        now=session.server_clock,
        worker=options.name,
        limit=options.limit,
        shutdown_requested=shutdown_requested,
        timings=timings,
    )
    reconciler.executor = ActionExecutor(
        session=session,
        runtime=dependencies.runtime,
        build_spec=job_specs,
        reporter=reporter,
        event_log=event_log,
        notify=reconciler.enqueue,
        worker=options.name,
        crash_log_lines=context.worker.kubernetes.crash_log_lines,
        timings=timings,
    )
    service = Service(
        options=options,
        settings=context.worker,
        session=session,
        heartbeat_session=scoped_session(process.heartbeat_session, loops_cancelled),
        runtime=dependencies.runtime,
        leadership=dependencies.leadership,
        job_specs=job_specs,
        reporter=reporter,
        reconciler=reconciler,
        monitor=monitor,
        event_log=event_log,
        shutdown_requested=shutdown_requested,
        loops_cancelled=loops_cancelled,
        timings=timings,
    )
    try:
        service.run()
    finally:
        if options.stop_jobs:
            stop_all_jobs(dependencies.runtime)


def stop_all_jobs(runtime: Runtime) -> None:
    """Deletes all Jobs of a runtime that are not over, and waits until they are gone, or no longer
    than `_STOP_JOBS_TIMEOUT`."""
    gone = CancellationToken()
    alive: set[str] = set()

    def delete(*jobs: Job) -> None:
        """Deletes those of the Jobs that are seen for the first time."""
        for job in jobs:
            if not job.phase.is_over and job.attempt not in alive:
                alive.add(job.attempt)
                with suppress(RuntimeUnavailable):
                    runtime.delete(job)

    def apply(update: RuntimeUpdate) -> None:
        """Deletes new Jobs; ends the watch when none is left."""
        match update:
            case JobsListed(jobs=jobs):
                delete(*jobs)
            case JobChanged(job=job):
                delete(job)
            case JobVanished(attempt=attempt):
                alive.discard(attempt)
            case _:
                return
        if not alive:
            gone.cancel()

    timeout = threading.Timer(_STOP_JOBS_TIMEOUT, gone.cancel)
    timeout.daemon = True
    timeout.start()
    runtime.watch(apply, gone)
    timeout.cancel()


def scoped_session(session: Session, cancellation: CancellationToken) -> Session:
    """Return a scope of a session in which waiting is a heartbeat of the calling loop."""
    return session.scoped(cancellation, heartbeat_while_waiting(cancellation.wait))


def _job_specs(
    options: WorkOptions,
    context: WorkerContext,
    dependencies: WorkerDependencies,
    session: Session,
    timings: Timings,
) -> JobSpecBuilder:
    return JobSpecBuilder(
        session=session,
        worker=options.name,
        server_version=dependencies.dialect.release,
        environ=context.environ,
        inherited=inherited_settings(context.sources, context.settings),
        pool=dependencies.pool,
        cache=TTLCache(session, timings.cache_ttl),
        timings=timings,
    )


def _reporter(
    options: WorkOptions,
    context: WorkerContext,
    dependencies: WorkerDependencies,
    event_log: EventLog,
    session: Session,
) -> RunReporter:
    def send(request: Request) -> Json:
        """Send although the session is cancelled: the last lines are sent during shutdown."""
        return session.send(request, finish=True)

    served = dependencies.pool
    return RunReporter(
        session=session,
        dialect=dependencies.dialect,
        logs=FlowLogs(send, session.server_clock, enabled=context.worker.logging_to_api),
        worker=events.WorkerIdentity(options.name, served["type"], served["id"], served["name"]),
        owner=dependencies.runtime.owner,
        event_log=event_log,
        clock=session.server_clock,
    )


def _retry(
    connect: Callable[[], WorkerDependencies],
    monitor: HealthMonitor,
    event_log: EventLog,
    shutdown_requested: CancellationToken,
    timings: Timings,
) -> WorkerDependencies:
    """Call `connect` until server and runtime have answered.

    A refused API key is retried, too: the Secret that it comes from can be corrected, and a restart
    would not do that.
    """
    backoff = Backoff(None, timings.start_retry_first, timings.start_retry_max)
    for wait in backoff.waits(random.Random()):
        monitor.heartbeat(Loop.START)
        try:
            dependencies = connect()
        except (ApiError, RuntimeUnavailable) as error:
            monitor.set_fault(Loop.START, error.message)
            event_log.emit(
                Level.ERROR,
                EventName.WORKER_START_FAILED,
                error.message,
                help=error.help,
                wait=round(wait, 1),
                error=error_kind(error),
            )
        else:
            monitor.loop_ended(Loop.START)
            return dependencies
        monitor.heartbeat(Loop.START, wait)
        if shutdown_requested.wait(wait):
            break
    raise shutdown_requested.interrupted()


def _connect(
    process: WorkerProcess, options: WorkOptions, event_log: EventLog, session: Session
) -> WorkerDependencies:
    """Detect the server, find or create the pool, and open its runtime: one try."""

    def template(pool_type: str) -> Json:
        """The option goes before the default of the type."""
        return options.base_job_template or base_job_template(pool_type)

    dialect = run_inline(detect(process.context.settings.is_cloud), session)
    found = run_inline(
        pool.find_or_create(options.pool, options.type, template, create=options.create_pool),
        session,
    )
    if options.base_job_template and options.sync_base_job_template:
        synced = run_inline(pool.sync_base_job_template(found, options.base_job_template), session)
        if synced is not None:
            text = f"the base job template of work pool '{options.pool}' is updated"
            event_log.emit(Level.INFO, EventName.POOL_TEMPLATE_UPDATED, text)
            found = synced
    _, state = run_inline(pool.read_pool_state(options.pool, options.queues), session)
    pool.check_queues(options.pool, state)
    runtime, leadership = process.runtimes.open(
        kind_for(found, options.runtime), found, options.name, event_log, major=dialect.major
    )
    return WorkerDependencies(dialect, found, runtime, leadership)
