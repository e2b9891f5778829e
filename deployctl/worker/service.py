"""The worker: loops that ask and tell, around the one that decides.

Each loop is an endless shell around a step that a test can take by itself. Whatever a step raises
is told, and the loop goes on: what ends a worker is a signal, never an error of a server.

Stopping: nothing new is claimed, what is under way is finished, the server hears of the worker
until the end. Jobs stay: the next worker finds them.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deployctl.api.driver import run_inline
from deployctl.api.paging import PAGE
from deployctl.api.session import Session
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import DeployctlError, Interrupted
from deployctl.worker.control.reconciler import TICK, Reconciler
from deployctl.worker.control.state_store import StateStore
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.health.health_state import HealthMonitor
from deployctl.worker.model import Job, Leadership, Runtime
from deployctl.worker.server import pool as pools
from deployctl.worker.server.flow_logs import EVERY
from deployctl.worker.server.job_specs import JobSpecBuilder
from deployctl.worker.server.pool import PoolState
from deployctl.worker.server.run_reporter import RunReporter
from deployctl.worker.server.runs import active, by_ids, due, run_of
from deployctl.worker.settings import WorkerSettings, WorkOptions

SHUTDOWN_GRACE = 20.0
"""Seconds that work under way has after a signal: a pod gets 30 s to end."""
JOIN_TIMEOUT = 3.0
"""Seconds that the loops have to end after that, and as many for the last words to the server."""


@dataclass(slots=True)
class Service:
    """One running worker."""

    options: WorkOptions
    settings: WorkerSettings
    session: Session
    """Of polls and of the look at active runs."""
    pulse: Session
    """Of heartbeats alone, so that no crowd of reads holds them up."""
    runtime: Runtime
    leadership: Leadership
    describer: JobSpecBuilder
    chronicle: RunReporter
    reconciler: Reconciler
    monitor: HealthMonitor
    event_log: EventLog
    stop: CancellationToken
    """A signal: claim nothing more, and end."""
    halt: CancellationToken
    """Ends the loops and whatever the sessions wait for."""
    draw: random.Random = field(default_factory=random.Random)
    _problems: dict[str, str] = field(default_factory=dict)
    _crowded: bool = False
    _polls: int = 0
    _failure: DeployctlError | None = None
    """What no waiting cures, and a restart may."""

    def run(self) -> None:
        """Works until `stop` is asked for, or, with `run_once`, until what was due is done.

        Raises PoolError when another pool has taken the place of its own; Interrupted when a stop
        comes before `run_once` has seen the end of its runs, which go on.
        """
        self.chronicle.begins()
        threads = [
            self._begin("reconcile", self._reconcile, lambda: 0.0),
            self._begin("heartbeat", self.heartbeat, lambda: self.settings.heartbeat_seconds),
            self._begin("poll", self.poll, self._until_poll),
            self._begin("sync", self.sync, self._until_sync),
            self._begin("chronicle", self.chronicle.flush, lambda: EVERY),
            self._begin("watch", lambda: self.runtime.watch(self.reconciler.emit, self.halt)),
            self._begin("lease", lambda: self.leadership.campaign(self.halt)),
        ]
        while not (self.stop.wait(TICK) or self._is_done()):
            pass
        cut_short = self.options.run_once and not self._is_done()
        interrupted = self.stop.interrupted()
        self.stop.cancel()
        text = "stopping: no more runs are claimed, and what is under way is finished"
        self.event_log.emit(Level.INFO, EventName.WORKER_STOPPING, text)
        end = time.monotonic() + SHUTDOWN_GRACE
        while not self.reconciler.is_idle and time.monotonic() < end:
            time.sleep(0.05)
        self.halt.cancel()
        _await(threads, JOIN_TIMEOUT)
        self.reconciler.close()
        last_words = threading.Thread(target=self.chronicle.ends, name="parting", daemon=True)
        last_words.start()
        _await([last_words], JOIN_TIMEOUT)
        if self._failure is not None:
            raise self._failure
        if cut_short:
            raise interrupted

    def _reconcile(self) -> None:
        watches = tuple(self.runtime.watch_statuses())
        self.monitor.watched(watches)
        self.reconciler.step(watches)

    def poll(self) -> None:
        """Asks which runs are due, in the order in which they should be claimed."""
        if self.stop.is_cancelled or (self.options.run_once and self._polls):
            return
        requested_at = time.monotonic()
        before = self.session.server_clock() + self.settings.prefetch_seconds
        offered = run_inline(due(self.describer.pool, self.options.queues, before), self.session)
        self._crowded = len(offered) >= PAGE
        self.describer.offered = {each["id"]: each for each in offered}
        runs = [run_of(each, self.runtime.owner) for each in offered]

        def offer(table: StateStore) -> None:
            table.offer(runs, requested_at)
            self._polls += 1

        self.reconciler.emit(offer)

    def heartbeat(self) -> None:
        """Reads the pool again, and tells the server that this worker is alive."""
        pool, state = run_inline(pools.look(self.options.pool, self.options.queues), self.pulse)
        self._judge(state)
        if pool is not None and pool["id"] != self.describer.pool["id"]:
            self._failure = pools.replaced(self.options.pool)
            self.stop.cancel()
        elif pool is not None:
            self.describer.pool = pool
            beat = pools.heartbeat(
                self.options.pool, self.options.name, self.settings.heartbeat_seconds
            )
            run_inline(beat, self.pulse)

    def sync(self) -> None:
        """Reads the runs that have, or should have, a job; only the leader needs to."""
        if not self.leadership.is_leader:
            self.reconciler.emit(StateStore.trim)
            return
        requested_at = time.monotonic()
        runs = run_inline(active(self.describer.pool["id"], self.runtime.owner), self.session)
        found = {run.id for run in runs}
        others = {job.run for job in tuple(self.reconciler.table.jobs.values())} - found
        runs += run_inline(by_ids(others, self.runtime.owner), self.session)

        self.reconciler.emit(lambda table: table.sync(others, runs, requested_at))

    def _judge(self, state: PoolState) -> None:
        """Tells of what keeps runs from coming, once, and of its end."""
        problems = pools.problems(self.options.pool, state)
        for part in ("pool", "queue"):
            if problem := problems.get(part):
                self.monitor.fault(part, problem)
            else:
                self.monitor.well(part)
        if problems != self._problems:
            for problem in problems.values() or ("runs come again",):
                if problems:
                    self.event_log.emit(Level.WARNING, EventName.POOL_NOT_READY, problem)
                else:
                    self.event_log.emit(Level.INFO, EventName.POOL_READY, problem)
        self._problems = problems

    def _until_poll(self) -> float:
        if self._crowded:
            return TICK
        return self.settings.query_seconds * self.draw.uniform(0.7, 1.3)

    def _until_sync(self) -> float:
        """Who does not lead looks often whether that has changed."""
        return self.settings.cancellation_poll_seconds if self.leadership.is_leader else TICK

    def _is_done(self) -> bool:
        """With `run_once`: whether everything that was due at the first poll has ended."""
        table = self.reconciler.table
        return (
            self.options.run_once
            and self._polls > 0
            and not table.due
            and self.reconciler.is_idle
            and not any(map(self._is_awaited, tuple(table.jobs.values())))
        )

    def _is_awaited(self, job: Job) -> bool:
        """A job of ours is awaited to its end, and by the leader until that is reported."""
        is_ours = job.worker == self.options.name
        return is_ours and (self.leadership.is_leader or not job.phase.is_over)

    def _begin(
        self, name: str, step: Callable[[], None], pause: Callable[[], float] | None = None
    ) -> threading.Thread:
        """Starts a loop that takes steps until `halt`, with pauses of so many seconds.

        Without `pause`, one step lasts until `halt`, and the loop lives as long as that does.
        """

        def loop() -> None:
            while not self.halt.is_cancelled:
                self.monitor.beat(name, 0.0 if pause else float("inf"))
                self._take(name, step)
                seconds = pause() if pause else TICK
                self.monitor.beat(name, seconds)
                self.halt.wait(seconds)
            self.monitor.ended(name)

        thread = threading.Thread(target=loop, name=name, daemon=True)
        thread.start()
        return thread

    def _take(self, name: str, step: Callable[[], None]) -> None:
        try:
            step()
        except Interrupted:
            return
        except DeployctlError as error:
            self.monitor.fault(name, error.message)
            self.event_log.emit(
                Level.WARNING,
                EventName.LOOP_FAILED,
                error.message,
                help=error.help,
                loop=name,
                error=type(error).__name__,
            )
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            self.monitor.fault(name, reason)
            self.event_log.emit(
                Level.ERROR, EventName.LOOP_FAILED, reason, loop=name, error=type(error).__name__
            )
        else:
            self.monitor.well(name)


def _await(threads: Sequence[threading.Thread], seconds: float) -> None:
    """Waits for the ends of threads, all together as long as is said: some may wait for a server
    that never answers."""
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
