"""The worker process: loops for the server and the runtime, around the reconcile loop.

Each loop is an endless shell around a step that a test can call. An error of a step is logged and
the loop goes on: a worker ends because of a signal, never because of an error of a server.

On shutdown nothing more is claimed, actions in flight are finished, and heartbeats go on until the
end. Jobs keep running; the next worker finds them.
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
from deployctl.core.json_values import Json
from deployctl.worker.control.reconciler import Reconciler, watches_synced
from deployctl.worker.control.state_store import StateStore
from deployctl.worker.error_kinds import error_kind, log_internal_error
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.health.health_state import Fault, HealthMonitor, Loop
from deployctl.worker.model import Job, Leadership, Run, Runtime
from deployctl.worker.poll_schedule import PollSchedule
from deployctl.worker.server import pool as pools
from deployctl.worker.server.job_specs import JobSpecBuilder
from deployctl.worker.server.name_watch import NameWatch
from deployctl.worker.server.pool import PoolState
from deployctl.worker.server.run_reporter import RunReporter
from deployctl.worker.server.runs import (
    parse_run,
    read_active,
    read_by_ids,
    read_due,
    read_unstarted_claims,
    seconds,
)
from deployctl.worker.settings import WorkerSettings, WorkOptions
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings


@dataclass(slots=True)
class Service:
    """One running worker."""

    options: WorkOptions
    settings: WorkerSettings
    session: Session
    """For polling scheduled runs and reading active ones."""
    heartbeat_session: Session
    """For heartbeats alone, so that a burst of other requests does not delay them."""
    runtime: Runtime
    leadership: Leadership
    job_specs: JobSpecBuilder
    reporter: RunReporter
    reconciler: Reconciler
    monitor: HealthMonitor
    event_log: EventLog
    shutdown_requested: CancellationToken
    """Cancelled by a signal: claim nothing more, and end."""
    loops_cancelled: CancellationToken
    """Ends the loops and every wait of the sessions."""
    timings: Timings = DEFAULT_TIMINGS
    clock: Callable[[], float] = time.monotonic
    """Clock of the state store."""
    _name_watch: NameWatch = field(init=False)
    schedule: PollSchedule = field(init=False)
    _problems: dict[Fault, str] = field(default_factory=dict)
    _polls: int = 0
    _next_sweep: float = float("-inf")
    _resumed: bool = False
    """Claims of an earlier process of this worker's name have been read."""
    _sync_seconds: float = 0.0
    """Duration of the last read of all active runs, if that took more than one page."""
    _reported_at: float = float("-inf")
    _failure: DeployctlError | None = None
    """An error that only a restart can cure."""

    def __post_init__(self) -> None:
        self._name_watch = NameWatch(self.options.pool, self.options.name)
        self.schedule = PollSchedule(self.settings.query_seconds, random.Random(), self.timings)

    def run(self) -> None:
        """Work until `shutdown_requested`, or, with `run_once`, until what was due has ended.

        Raises PoolError if another pool has taken the name of this one; Interrupted if shutdown is
        requested before `run_once` has seen the end of its runs, which keep running.
        """
        self.reporter.worker_started()
        settings, timings = self.settings, self.timings
        threads = [
            self._start_loop(Loop.RECONCILE, self._reconcile, lambda: 0.0),
            self._start_loop(Loop.HEARTBEAT, self.heartbeat, lambda: settings.heartbeat_seconds),
            self._start_loop(Loop.POLL, self._poll_if_due, self._poll_wait),
            self._start_loop(Loop.SYNC, self.sync, self._sync_interval),
            self._start_loop(Loop.REPORT, self._report, lambda: timings.report_interval),
            self._start_loop(Loop.WATCH, self._watch),
            self._start_loop(Loop.LEASE, lambda: self.leadership.campaign(self.loops_cancelled)),
        ]
        while not (self.shutdown_requested.wait(timings.tick) or self.is_done):
            pass
        cut_short = self.options.run_once and not self.is_done
        interrupted = self.shutdown_requested.interrupted()
        self._shut_down(threads)
        if self._failure is not None:
            raise self._failure
        if cut_short:
            raise interrupted

    def _shut_down(self, threads: Sequence[threading.Thread]) -> None:
        """Finishes actions in flight, ends all loops, sends the last report; each with a limit."""
        self.shutdown_requested.cancel()
        text = "stopping: no more runs are claimed, and actions in flight are finished"
        self.event_log.emit(Level.INFO, EventName.WORKER_STOPPING, text)
        grace = self.timings.shutdown_grace
        end, server_end = time.monotonic() + grace, self.reconciler.now() + grace
        while not self.reconciler.may_stop(server_end) and time.monotonic() < end:
            time.sleep(0.05)
        self.loops_cancelled.cancel()
        _join(threads, self.timings.join_timeout)
        self.reconciler.close()
        last_report = threading.Thread(
            target=self.reporter.worker_stopped, name="last-report", daemon=True
        )
        last_report.start()
        _join([last_report], self.timings.join_timeout)

    def _reconcile(self) -> None:
        watches = tuple(self.runtime.watch_statuses())
        self.monitor.set_watch_faults(watches)
        self.reconciler.step(watches)

    def _report(self) -> None:
        """Sends log lines and events, late while runs wait for their Jobs."""
        now = self.clock()
        if not self.reconciler.is_busy or now - self._reported_at >= self.timings.report_delay:
            self._reported_at = now
            self.reporter.flush()

    def _watch(self) -> None:
        self.runtime.watch(self.reconciler.enqueue, self.loops_cancelled)

    def _poll_if_due(self) -> None:
        now = self.clock()
        if self.schedule.is_due(now, claims_wait=self.reconciler.claims_wait):
            self.poll()

    def poll(self) -> None:
        """Reads the runs that are due, in the order in which they should be claimed.

        A regular poll also finds out when others become due before the next one. If there are any,
        the due ones are read by themselves, because a limit of the pool could have left out some.
        Replicas other than the leader claim what it leaves: runs that have been due for a moment.
        """
        schedule, requested_at = self.schedule, self.clock()
        ahead = schedule.is_regular(requested_at) and not self.options.run_once
        schedule.begin(requested_at)
        if self.shutdown_requested.is_cancelled or (self.options.run_once and self._polls):
            return
        lag = 0.0 if self.leadership.is_leader or self.options.run_once else schedule.lag
        before = self.session.server_clock() + self.settings.prefetch_seconds - lag
        limit = PAGE if ahead else schedule.page(self.reconciler.claims_wait)
        offered = self._read_due(before + schedule.horizon if ahead else before, limit)
        starts = [seconds(run.get("next_scheduled_start_time")) for run in offered]
        due_in = [start - before for start in starts if start > before]
        if ahead and due_in:
            schedule.add_moments(due_in, complete=len(offered) < limit)
            requested_at = self.clock()
            offered = self._read_due(before, limit)
        schedule.end(self.clock(), len(offered), more=len(offered) >= limit, follows=lag > 0)
        runs = [parse_run(each, self.runtime.owner) for each in offered]

        def set_due(store: StateStore) -> None:
            """Counted here, so that `is_done` sees the poll and its runs together."""
            store.set_due(runs, requested_at)
            starting = store.in_flight.union(store.claims.runs.values())
            kept = {id_: run for id_, run in self.job_specs.offered.items() if id_ in starting}
            self.job_specs.offered = kept | {each["id"]: each for each in offered}
            self._polls += 1

        self.reconciler.enqueue(set_due)

    def _read_due(self, before: float, limit: int) -> list[Json]:
        """Reads the runs that start by `before`, in seconds of the epoch, at most `limit`."""
        api_call = read_due(self.job_specs.pool, self.options.queues, before, limit)
        return run_inline(api_call, self.session)

    def heartbeat(self) -> None:
        """Reads the pool again, and sends the worker's heartbeat."""
        options, session = self.options, self.heartbeat_session
        pool, state = run_inline(pools.read_pool_state(options.pool, options.queues), session)
        self._set_pool_faults(state)
        if pool is not None and pool["id"] != self.job_specs.pool["id"]:
            self._failure = pools.replaced(options.pool)
            self.shutdown_requested.cancel()
        elif pool is not None:
            self.job_specs.pool = pool
            self._send_heartbeat()

    def _send_heartbeat(self) -> None:
        """Sends the heartbeat, and finds out whether claims of this name from elsewhere are left
        behind."""
        options, session = self.options, self.heartbeat_session

        def send() -> None:
            """The heartbeat itself."""
            interval = self.settings.heartbeat_seconds
            run_inline(pools.heartbeat(options.pool, options.name, interval), session)

        elsewhere = frozenset(
            run.claim_owner
            for run in tuple(self.reconciler.store.runs.values())
            if run.claim_worker == options.name and self.runtime.is_of_predecessor(run.claim_owner)
        )
        if options.shared_name or not elsewhere:
            send()
            return
        is_alone = self._name_watch.heartbeat(session, send)
        gone = elsewhere if is_alone else frozenset[str]()
        self.reconciler.enqueue(lambda store: store.set_gone_owners(gone))

    def sync(self) -> None:
        """Reads the runs that have, or should have, a Job; only the leader needs them.

        At first, every worker takes up what an earlier process of its name has claimed: it need not
        wait until those claims are old, or until it leads.
        """
        if not self._resumed:
            self._resume_claims()
        if not self.leadership.is_leader:
            self.reconciler.enqueue(StateStore.trim)
            return
        requested_at, owner = self.clock(), self.runtime.owner
        runs = run_inline(read_active(self.job_specs.pool["id"], owner), self.session)
        found = {run.id for run in runs}
        store = self.reconciler.store
        others = {job.run for job in tuple(store.jobs.values())}
        others = others.union(tuple(store.endings.attempts), tuple(store.unfinished)) - found
        runs += run_inline(read_by_ids(others, owner), self.session)
        self._sync_seconds = self.clock() - requested_at if len(runs) > PAGE else 0.0

        self.reconciler.enqueue(lambda store: store.sync(others, runs, requested_at))
        self._sweep(runs)

    def _sweep(self, runs: Sequence[Run]) -> None:
        """Removes leftovers of starts, given all active runs, if all Jobs are known, too."""
        if self.clock() < self._next_sweep or not watches_synced([*self.runtime.watch_statuses()]):
            return
        store = self.reconciler.store
        known = {run.attempt for run in runs} | {*store.jobs} | store.claims.unseen()
        self.runtime.sweep(known)
        self._next_sweep = self.clock() + self.timings.sweep_interval

    def _resume_claims(self) -> None:
        pool_id, owner = self.job_specs.pool["id"], self.runtime.owner
        own = run_inline(read_unstarted_claims(pool_id, owner, self.options.name), self.session)
        self._resumed = True
        self.reconciler.enqueue(lambda store: store.resume_claims(own))

    def _set_pool_faults(self, state: PoolState) -> None:
        """Sets faults of the pool and its queues, and logs when they change."""
        problems = pools.problems(self.options.pool, state)
        for fault in (Fault.POOL, Fault.QUEUE):
            if problem := problems.get(fault):
                self.monitor.set_fault(fault, problem)
            else:
                self.monitor.clear_fault(fault)
        if problems == self._problems:
            return
        self._problems = problems
        for problem in problems.values():
            self.event_log.emit(Level.WARNING, EventName.POOL_NOT_READY, problem)
        if not problems:
            text = f"work pool '{self.options.pool}' is active again"
            self.event_log.emit(Level.INFO, EventName.POOL_READY, text)

    def _poll_wait(self) -> float:
        return self.schedule.wait(self.clock())

    def _sync_interval(self) -> float:
        """Followers check often whether they have become the leader."""
        if not self._resumed:
            return self.timings.tick  # With a limit, nothing is claimed before.
        if self.leadership.is_leader:
            pause = self.timings.sync_pause * self._sync_seconds
            return max(self.settings.cancellation_poll_seconds, pause)
        return self.timings.tick

    @property
    def is_done(self) -> bool:
        """With `run_once`: whether everything that was due at the first poll has ended."""
        store = self.reconciler.store
        return (
            self.options.run_once
            and self._polls > 0
            and all(map(store.slot_waits.waits, tuple(store.due)))
            and self.reconciler.is_idle
            and not any(map(self._is_awaited, tuple(store.jobs.values())))
        )

    def _is_awaited(self, job: Job) -> bool:
        """Whether `run_once` waits for a Job: until its end, as leader until that is reported."""
        hangs = job.deletion_hangs(self.reconciler.now(), self.timings.deletion_grace)
        own = job.worker == self.options.name and not hangs
        return own and (self.leadership.is_leader or not job.phase.is_over)

    def _start_loop(
        self, loop: Loop, step: Callable[[], None], pause: Callable[[], float] | None = None
    ) -> threading.Thread:
        """Starts a thread that repeats `step` until `loops_cancelled`, with `pause()` s in between.

        Without `pause`, one step lasts until `loops_cancelled` and counts as alive that long.
        """

        def repeat() -> None:
            """Runs the loop and keeps its heartbeat."""
            while not self.loops_cancelled.is_cancelled:
                self.monitor.heartbeat(loop, 0.0 if pause else float("inf"))
                self._run_step(loop, step)
                seconds = pause() if pause else self.timings.tick
                self.monitor.heartbeat(loop, seconds)
                self.loops_cancelled.wait(seconds)
            self.monitor.loop_ended(loop)

        thread = threading.Thread(target=repeat, name=loop.value, daemon=True)
        thread.start()
        return thread

    def _run_step(self, loop: Loop, step: Callable[[], None]) -> None:
        try:
            step()
        except Interrupted:
            return
        except DeployctlError as error:
            self.monitor.set_fault(loop, error.message)
            self.event_log.emit(
                Level.WARNING,
                EventName.LOOP_FAILED,
                error.message,
                help=error.help,
                loop=loop,
                error=error_kind(error),
            )
        except Exception as error:
            self.monitor.set_fault(loop, f"{type(error).__name__}: {error}")
            log_internal_error(self.event_log, error, f"the loop '{loop}'")
        else:
            self.monitor.clear_fault(loop)


def _join(threads: Sequence[threading.Thread], seconds: float) -> None:
    """Waits for threads to end, for `seconds` in all: some may be in a request that hangs."""
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
