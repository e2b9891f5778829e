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

from deployctl.api.dialect import Dialect, detect
from deployctl.api.driver import follow
from deployctl.api.gate import Gate
from deployctl.api.session import Session
from deployctl.api.settings import Settings
from deployctl.api.sources import Source
from deployctl.api.talk import Request
from deployctl.app.runtimes import kind_for, open_runtime
from deployctl.core.clock import ServerClock
from deployctl.core.errors import ApiError
from deployctl.core.retry import Backoff
from deployctl.core.stop import Stop
from deployctl.core.values import Json
from deployctl.jobs.environment import inherited
from deployctl.jobs.pools import template_for
from deployctl.worker import events, pool
from deployctl.worker.chronicle import Chronicle
from deployctl.worker.flow_logs import FlowLogs
from deployctl.worker.hands import Hands
from deployctl.worker.health import HealthServer
from deployctl.worker.journal import Journal, Level
from deployctl.worker.metrics import CountingJournal, Metrics
from deployctl.worker.model import Leadership, NotNow, Runtime
from deployctl.worker.reconciler import HANDS, Reconciler
from deployctl.worker.service import Service
from deployctl.worker.settings import WorkerSettings, WorkOptions
from deployctl.worker.subjects import Describer, Shelf
from deployctl.worker.vitals import Monitor

T = TypeVar("T")

_PULSES = 2
"""Requests at once that heartbeats need."""
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0
"""Seconds between tries to begin."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker is told by the process that it runs in."""

    settings: Settings
    worker: WorkerSettings
    environ: Mapping[str, str]
    places: Sequence[Source]
    """Where settings stand, the strongest first: jobs inherit them."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What has to be known before work can begin."""

    dialect: Dialect
    pool: Json
    runtime: Runtime
    leadership: Leadership


def work(options: WorkOptions, around: Surroundings, journal: Journal, stop: Stop) -> None:
    """Works until `stop` is asked for, or with `run_once` until what was due has ended.

    Raises PoolError for a pool that cannot be served, NoCluster, NoPort and SettingsError; with
    `run_once` also the ApiError or NotNow that keeps the work from beginning; Interrupted when the
    stop comes before that.
    """
    monitor, halt, now, writes = Monitor(), Stop(), ServerClock(), Gate(1, HANDS)
    monitor.fault("start", "the worker is starting")
    with ExitStack() as stack:
        session, pulse, first = (
            stack.enter_context(_session(around.settings, width, ending, monitor, now, writes))
            for width, ending in ((HANDS + 4, halt), (_PULSES, halt), (_PULSES, stop))
        )
        metrics = Metrics(monitor, now)
        journal = CountingJournal(journal, metrics)
        if options.with_healthcheck:
            host, port = around.worker.webserver_host, around.worker.webserver_port
            stack.enter_context(HealthServer(host, port, monitor, metrics.text))

        def begin() -> Ground:
            return _ground(options, around, journal, first)

        ground = begin() if options.run_once else _patiently(begin, monitor, journal, stop)
        monitor.well("start")
        facts = {"type": ground.pool["type"], "owner": ground.runtime.owner}
        text = f"worker '{options.name}' takes runs of work pool '{options.pool}'"
        facts |= {"pool": options.pool, "worker": options.name}
        journal.tell(Level.INFO, "worker.started", text, **facts)
        describer = _describer(options, around, ground, session)
        reconciler = _reconciler(
            options, around, ground, journal, session, describer, metrics, now, stop
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
            journal=journal,
            stop=stop,
            halt=halt,
        ).run()
        text = "the worker has stopped; jobs that run go on"
        journal.tell(Level.INFO, "worker.stopped", text, worker=options.name)


def _describer(
    options: WorkOptions, around: Surroundings, ground: Ground, session: Session
) -> Describer:
    return Describer(
        session=session,
        worker=options.name,
        server_version=ground.dialect.release,
        environ=around.environ,
        inherited=inherited(around.places, around.settings),
        pool=ground.pool,
        shelf=Shelf(session),
    )


def _reconciler(
    options: WorkOptions,
    around: Surroundings,
    ground: Ground,
    journal: Journal,
    session: Session,
    describer: Describer,
    metrics: Metrics,
    now: ServerClock,
    stop: Stop,
) -> Reconciler:
    """The one that decides, with its hands."""
    chronicle = _chronicle(options, around, ground, journal, session)
    reconciler = Reconciler(
        leadership=ground.leadership,
        chronicle=chronicle,
        journal=journal,
        metrics=metrics,
        now=now,
        worker=options.name,
        limit=options.limit,
        stop=stop,
    )
    reconciler.hands = Hands(
        session=session,
        runtime=ground.runtime,
        describe=describer,
        chronicle=chronicle,
        journal=journal,
        tell=reconciler.tell,
        worker=options.name,
        crash_log_lines=around.worker.kubernetes.crash_log_lines,
    )
    return reconciler


def _session(
    settings: Settings,
    width: int,
    ending: Stop,
    monitor: Monitor,
    server_clock: ServerClock,
    writes: Gate,
) -> Session:
    return Session(
        settings,
        concurrency=width,
        stop=ending,
        wait=monitor.patient(ending.wait),
        server_clock=server_clock,
        writes=writes,
    )


def _patiently(
    begin: Callable[[], Ground], monitor: Monitor, journal: Journal, stop: Stop
) -> Ground:
    """Tries until server and cluster have answered. A key that is refused is waited for, too: the
    Secret that it comes from can be mended, and a restart would not do it.
    """
    waits = Backoff(10**9, _FIRST_WAIT, _LONGEST_WAIT).waits(random.Random())
    for wait in waits:
        monitor.beat("start")
        try:
            ground = begin()
        except (ApiError, NotNow) as error:
            monitor.fault("start", error.message)
            journal.tell(
                Level.ERROR, "worker.waits", error.message, help=error.help, wait=round(wait, 1)
            )
        else:
            monitor.ended("start")
            return ground
        monitor.beat("start", wait)
        if stop.wait(wait):
            break
    raise stop.interrupted()


def _ground(
    options: WorkOptions, around: Surroundings, journal: Journal, session: Session
) -> Ground:
    """One try to learn what there is to work with."""

    def template(pool_type: str) -> Json:
        return options.base_job_template or template_for(pool_type)

    dialect = follow(detect(around.settings.is_cloud), session)
    found = follow(
        pool.find_or_create(options.pool, options.type, template, create=options.create_pool),
        session,
    )
    _, state = follow(pool.look(options.pool, options.queues), session)
    pool.check_queues(options.pool, state)
    runtime, leadership = open_runtime(
        kind_for(found, options.runtime),
        found,
        options.name,
        around.worker.kubernetes,
        journal,
        major=dialect.major,
        environ=around.environ,
        clock=session.server_time,
    )
    return Ground(dialect, found, runtime, leadership)


def _chronicle(
    options: WorkOptions,
    around: Surroundings,
    ground: Ground,
    journal: Journal,
    session: Session,
) -> Chronicle:
    def send(request: Request) -> Json:
        return session.send(request, finish=True)

    logs = FlowLogs(send, session.server_time, enabled=around.worker.logging_to_api)
    worker = events.Worker(
        options.name, ground.pool["type"], ground.pool["id"], ground.pool["name"]
    )
    return Chronicle(
        session=session,
        dialect=ground.dialect,
        logs=logs,
        worker=worker,
        owner=ground.runtime.owner,
        journal=journal,
        clock=session.server_time,
    )
