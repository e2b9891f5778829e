"""The worker, put together: pool, runtime, and the service that runs between them.

Until the server and the cluster have answered once there is nothing to work with, so the start is
tried again and again, with the health server already up: a server that comes later than its workers
must not cost a restart. Only what no waiting cures ends the start.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from deployctl.api.calls import Request
from deployctl.api.concurrency import ConcurrencyLimiter
from deployctl.api.dialect import Dialect, detect
from deployctl.api.driver import run_inline
from deployctl.api.session import Session
from deployctl.api.setting_sources import Source
from deployctl.api.settings import Settings
from deployctl.app.worker.runtimes import kind_for, open_runtime
from deployctl.core.cancellation import CancellationToken
from deployctl.core.clock import ServerClock
from deployctl.core.errors import ApiError
from deployctl.core.json_values import Json
from deployctl.core.retry import Backoff
from deployctl.jobs.base_job_templates import base_job_template
from deployctl.jobs.environment import inherited_settings
from deployctl.worker.control.executor import ActionExecutor
from deployctl.worker.control.reconciler import HANDS, Reconciler
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.health.health_state import HealthMonitor
from deployctl.worker.health.http_server import HealthServer
from deployctl.worker.health.metrics import CountingEventLog, Metrics
from deployctl.worker.model import Leadership, Runtime, RuntimeUnavailable
from deployctl.worker.server import events, pool
from deployctl.worker.server.flow_logs import FlowLogs
from deployctl.worker.server.job_specs import JobSpecBuilder, TTLCache
from deployctl.worker.server.run_reporter import RunReporter
from deployctl.worker.service import Service
from deployctl.worker.settings import WorkerSettings, WorkOptions

T = TypeVar("T")

_PULSES = 2
"""Requests at once that heartbeats need."""
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0
"""Seconds between tries to begin."""


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What a worker is told by the process that it runs in."""

    settings: Settings
    worker: WorkerSettings
    environ: Mapping[str, str]
    places: Sequence[Source]
    """Where settings stand, the strongest first: jobs inherit them."""


@dataclass(frozen=True, slots=True)
class WorkerDependencies:
    """What has to be known before work can begin."""

    dialect: Dialect
    pool: Json
    runtime: Runtime
    leadership: Leadership


def run_worker(
    options: WorkOptions, around: WorkerContext, event_log: EventLog, stop: CancellationToken
) -> None:
    """Works until `stop` is asked for, or with `run_once` until what was due has ended.

    Raises PoolError for a pool that cannot be served, ClusterConfigError, NoPort and SettingsError;
    with `run_once` also the ApiError or NotNow that keeps the work from beginning; Interrupted when
    the stop comes before that.
    """
    monitor, halt, now, writes = (
        HealthMonitor(),
        CancellationToken(),
        ServerClock(),
        ConcurrencyLimiter(1, HANDS),
    )
    monitor.fault("start", "the worker is starting")
    with ExitStack() as stack:
        session, pulse, first = (
            stack.enter_context(_session(around.settings, width, ending, monitor, now, writes))
            for width, ending in ((HANDS + 4, halt), (_PULSES, halt), (_PULSES, stop))
        )
        metrics = Metrics(monitor, now)
        event_log = CountingEventLog(event_log, metrics)
        if options.with_healthcheck:
            host, port = around.worker.webserver_host, around.worker.webserver_port
            stack.enter_context(HealthServer(host, port, monitor, metrics.text))

        def begin() -> WorkerDependencies:
            return _ground(options, around, event_log, first)

        ground = begin() if options.run_once else _patiently(begin, monitor, event_log, stop)
        monitor.well("start")
        facts = {"type": ground.pool["type"], "owner": ground.runtime.owner}
        text = f"worker '{options.name}' takes runs of work pool '{options.pool}'"
        facts |= {"pool": options.pool, "worker": options.name}
        event_log.emit(Level.INFO, EventName.WORKER_STARTED, text, **facts)
        describer = _describer(options, around, ground, session)
        reconciler = _reconciler(
            options, around, ground, event_log, session, describer, metrics, now, stop
        )
        Service(
            options=options,
            settings=around.worker,
            session=session,
            pulse=pulse,
            runtime=ground.runtime,
            leadership=ground.leadership,
            describer=describer,
            chronicle=reconciler.chronicle,
            reconciler=reconciler,
            monitor=monitor,
            event_log=event_log,
            stop=stop,
            halt=halt,
        ).run()
        text = "the worker has stopped; jobs that run go on"
        event_log.emit(Level.INFO, EventName.WORKER_STOPPED, text, worker=options.name)


def _describer(
    options: WorkOptions, around: WorkerContext, ground: WorkerDependencies, session: Session
) -> JobSpecBuilder:
    return JobSpecBuilder(
        session=session,
        worker=options.name,
        server_version=ground.dialect.release,
        environ=around.environ,
        inherited=inherited_settings(around.places, around.settings),
        pool=ground.pool,
        shelf=TTLCache(session),
    )


def _reconciler(
    options: WorkOptions,
    around: WorkerContext,
    ground: WorkerDependencies,
    event_log: EventLog,
    session: Session,
    describer: JobSpecBuilder,
    metrics: Metrics,
    now: ServerClock,
    stop: CancellationToken,
) -> Reconciler:
    """The one that decides, with its hands."""
    chronicle = _chronicle(options, around, ground, event_log, session)
    reconciler = Reconciler(
        leadership=ground.leadership,
        chronicle=chronicle,
        event_log=event_log,
        metrics=metrics,
        now=now,
        worker=options.name,
        limit=options.limit,
        stop=stop,
    )
    reconciler.hands = ActionExecutor(
        session=session,
        runtime=ground.runtime,
        describe=describer,
        chronicle=chronicle,
        event_log=event_log,
        emit=reconciler.emit,
        worker=options.name,
        crash_log_lines=around.worker.kubernetes.crash_log_lines,
    )
    return reconciler


def _session(
    settings: Settings,
    width: int,
    ending: CancellationToken,
    monitor: HealthMonitor,
    server_clock: ServerClock,
    writes: ConcurrencyLimiter,
) -> Session:
    return Session(
        settings,
        concurrency=width,
        cancellation=ending,
        wait=monitor.patient(ending.wait),
        server_clock=server_clock,
        writes=writes,
    )


def _patiently(
    begin: Callable[[], WorkerDependencies],
    monitor: HealthMonitor,
    event_log: EventLog,
    stop: CancellationToken,
) -> WorkerDependencies:
    """Tries until server and cluster have answered. A key that is refused is waited for, too: the
    Secret that it comes from can be mended, and a restart would not do it.
    """
    waits = Backoff(10**9, _FIRST_WAIT, _LONGEST_WAIT).waits(random.Random())
    for wait in waits:
        monitor.beat("start")
        try:
            ground = begin()
        except (ApiError, RuntimeUnavailable) as error:
            monitor.fault("start", error.message)
            event_log.emit(
                Level.ERROR,
                EventName.WORKER_START_FAILED,
                error.message,
                help=error.help,
                wait=round(wait, 1),
            )
        else:
            monitor.ended("start")
            return ground
        monitor.beat("start", wait)
        if stop.wait(wait):
            break
    raise stop.interrupted()


def _ground(
    options: WorkOptions, around: WorkerContext, event_log: EventLog, session: Session
) -> WorkerDependencies:
    """One try to learn what there is to work with."""

    def template(pool_type: str) -> Json:
        return options.base_job_template or base_job_template(pool_type)

    dialect = run_inline(detect(around.settings.is_cloud), session)
    found = run_inline(
        pool.find_or_create(options.pool, options.type, template, create=options.create_pool),
        session,
    )
    _, state = run_inline(pool.look(options.pool, options.queues), session)
    pool.check_queues(options.pool, state)
    runtime, leadership = open_runtime(
        kind_for(found, options.runtime),
        found,
        options.name,
        around.worker.kubernetes,
        event_log,
        major=dialect.major,
        environ=around.environ,
        clock=session.server_clock,
    )
    return WorkerDependencies(dialect, found, runtime, leadership)


def _chronicle(
    options: WorkOptions,
    around: WorkerContext,
    ground: WorkerDependencies,
    event_log: EventLog,
    session: Session,
) -> RunReporter:
    def send(request: Request) -> Json:
        return session.send(request, finish=True)

    logs = FlowLogs(send, session.server_clock, enabled=around.worker.logging_to_api)
    worker = events.Worker(
        options.name, ground.pool["type"], ground.pool["id"], ground.pool["name"]
    )
    return RunReporter(
        session=session,
        dialect=ground.dialect,
        logs=logs,
        worker=worker,
        owner=ground.runtime.owner,
        event_log=event_log,
        clock=session.server_clock,
    )
