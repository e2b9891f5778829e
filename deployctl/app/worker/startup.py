"""Starts a worker: what all its pools share, then the service of each pool."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from deployctl.api.concurrency import ConcurrencyLimiter
from deployctl.api.session import Session
from deployctl.app.worker.pool_set import PoolSet
from deployctl.app.worker.runtimes import RuntimeFactory
from deployctl.app.worker.serving import WorkerContext, WorkerProcess, serve_pool
from deployctl.core.cancellation import CancellationToken
from deployctl.core.clock import ServerClock
from deployctl.worker.control.claim_order import MAX_IN_FLIGHT
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.health.exporter import Exporter
from deployctl.worker.health.health_state import (
    CombinedHealth,
    HealthMonitor,
    Loop,
)
from deployctl.worker.health.http_server import HealthServer
from deployctl.worker.health.metric_names import Target
from deployctl.worker.health.metrics import MeteredEventLog, Metrics
from deployctl.worker.settings import WorkOptions
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

_HEARTBEAT_CONCURRENCY = 2
"""Requests at once of a heartbeat."""
_SPARE_REQUESTS = 4
"""Requests at once of polls, syncs and reports, beside those of actions."""
_CONCURRENT_POOLS = 4
"""With several pools, how many of them may do each at once: more would only burden the server."""


def run_worker(
    options: WorkOptions,
    context: WorkerContext,
    event_log: EventLog,
    shutdown_requested: CancellationToken,
    timings: Timings = DEFAULT_TIMINGS,
) -> None:
    """Run a worker until `shutdown_requested`, or with `run_once` until what was due has ended.

    Raises PoolError for a pool that cannot be served, ClusterConfigError, NoPort and SettingsError;
    with `run_once` also the ApiError or RuntimeUnavailable that keeps it from starting; Interrupted
    if shutdown is requested before that.
    """
    several = bool(options.other_pools or options.patterns)
    pools = _CONCURRENT_POOLS if several else 1
    monitor = HealthMonitor(loop_timeout=timings.loop_timeout)
    monitor.set_fault(Loop.START, "the worker is starting")
    server_clock, writes = ServerClock(), ConcurrencyLimiter(1, MAX_IN_FLIGHT)
    exporter, metrics = Exporter(server_clock), Metrics(monitor)
    exporter.pools = {"" if several else options.pool: metrics}
    metered = MeteredEventLog(event_log, metrics)
    health = CombinedHealth(monitor)
    with ExitStack() as stack:

        def open_session(concurrency: int) -> Session:
            """Sessions share the server's clock and the limit of concurrent writes."""
            session = Session(
                context.settings,
                concurrency=concurrency,
                server_clock=server_clock,
                writes=writes,
                on_error=partial(exporter.count_request, Target.API),
            )
            return stack.enter_context(session)

        if options.with_healthcheck:
            host, port = context.worker.webserver_host, context.worker.webserver_port
            server = HealthServer(host, port, health, exporter.text, metered)
            stack.enter_context(server)
        process = WorkerProcess(
            options=options,
            context=context,
            raw_event_log=event_log,
            event_log=metered,
            metrics=metrics,
            exporter=exporter,
            health=health,
            session=open_session(MAX_IN_FLIGHT + pools * _SPARE_REQUESTS),
            heartbeat_session=open_session(pools * _HEARTBEAT_CONCURRENCY),
            runtimes=RuntimeFactory(
                context.worker.kubernetes,
                metered,
                environ=context.environ,
                clock=server_clock,
                on_error=partial(exporter.count_request, Target.CLUSTER),
                timings=timings,
            ),
            shutdown_requested=shutdown_requested,
            timings=timings,
        )
        if several:
            PoolSet(process).run()
        else:
            serve_pool(process, options, metrics, metered, shutdown_requested)
        text = "the worker has stopped; running jobs continue"
        if options.stop_jobs:
            text = "the worker and its jobs have stopped"
        metered.emit(Level.INFO, EventName.WORKER_STOPPED, text, worker=options.name)
