"""The pools of a worker with several: each is served by a `Service` of its own.

Pools are given by name or by pattern. Those that match a pattern are taken up when they appear and
released when they are gone, while the worker runs. All else (limits, heartbeats, leadership,
decisions) is a matter of one pool and its service; the process shares connections and watches.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from deployctl.api.driver import run_inline
from deployctl.api.work_pools import list_pools
from deployctl.app.worker.runtimes import kind_for
from deployctl.app.worker.serving import WorkerProcess, scoped_session, serve_pool
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import DeployctlError, Interrupted
from deployctl.core.json_values import Json
from deployctl.worker.error_kinds import error_kind, log_internal_error
from deployctl.worker.event_log import EventName, Level
from deployctl.worker.health.health_state import Fault, HealthMonitor, Loop
from deployctl.worker.health.metrics import MeteredEventLog, Metrics
from deployctl.worker.server.pool import PoolError, check_servable


@dataclass(slots=True)
class _ServedPool:
    """A pool, and the thread that serves it."""

    name: str
    id: str
    """"" for one that was given by name."""
    metrics: Metrics
    shutdown_requested: CancellationToken = field(default_factory=CancellationToken)
    error: Exception | None = None
    """What ended the thread."""
    thread: threading.Thread = field(init=False)


class PoolSet:
    """Serves the pools of `process.options`."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process
        self._options = process.options
        self._event_log = process.event_log
        self._monitor = process.metrics.monitor
        self._session = scoped_session(process.heartbeat_session, process.shutdown_requested)
        self._served: dict[str, _ServedPool] = {}
        """By name."""
        self._released: list[_ServedPool] = []
        """Whose service is ending."""
        self._skipped: dict[str, str] = {}
        """Why matching pools are left to others, by name."""
        self._problems: dict[str, str] = {}
        """Why matching pools are not served, by name; "": there is none. Shown as a fault."""
        self._next_search = 0.0
        self._has_searched = not self._options.patterns

    def run(self) -> None:
        """Works until shutdown is requested, or, with `run_once`, until every pool is done.

        Raises the error that ends the service of a pool that was given by name; with `run_once`
        that of any pool, and the ApiError that keeps pools from being found; Interrupted if
        shutdown is requested before pools were found or `run_once` has seen the end of its runs.
        """
        stop, tick = self._process.shutdown_requested, self._process.timings.tick
        try:
            for name in self._options.names:
                self._serve(name)
            if self._has_searched:
                self._monitor.clear_fault(Loop.START)
            while not stop.is_cancelled and not self._is_done:
                self._search_if_due()
                self._collect()
                self._monitor.heartbeat(Loop.POOLS, tick)
                stop.wait(tick)
        finally:
            self._shut_down()
        self._collect()
        if stop.is_cancelled and (self._options.run_once or not self._has_searched):
            raise stop.interrupted()

    @property
    def _is_done(self) -> bool:
        threads = (each.thread for each in self._served.values())
        return (
            self._options.run_once
            and self._has_searched
            and not any(thread.is_alive() for thread in threads)
        )

    def _search_if_due(self) -> None:
        """Looks for pools that match a pattern, once per heartbeat interval."""
        if not self._options.patterns or time.monotonic() < self._next_search:
            return
        if self._options.run_once and self._has_searched:
            return
        self._next_search = time.monotonic() + self._process.context.worker.heartbeat_seconds
        try:
            self.update(run_inline(list_pools(), self._session))
        except Interrupted:
            return
        except Exception as error:
            if self._options.run_once:
                raise
            self._report_failure(error)
        else:
            self._has_searched = True
            self._monitor.clear_fault(Loop.POOLS)
            self._monitor.clear_fault(Loop.START)

    def _report_failure(self, error: Exception) -> None:
        """Reports a failed search, which is repeated; the present pools are served on."""
        if isinstance(error, DeployctlError):
            self._monitor.set_fault(Loop.POOLS, error.message)
            self._event_log.emit(
                Level.WARNING,
                EventName.LOOP_FAILED,
                error.message,
                help=error.help,
                loop=Loop.POOLS,
                error=error_kind(error),
            )
        else:
            self._monitor.set_fault(Loop.POOLS, f"{type(error).__name__}: {error}")
            log_internal_error(self._event_log, error, f"the loop '{Loop.POOLS}'")

    def update(self, pools: list[Json]) -> None:
        """Takes up pools that match a pattern, and releases those that are gone."""
        matching = {each["name"]: each for each in pools if self._options.matches(each["name"])}
        by_pattern = [each for each in self._served.values() if each.id]
        for served in by_pattern:
            if matching.get(served.name, {}).get("id") != served.id:
                self._release(served)
        for name, pool in matching.items():
            if name not in self._served and self._may_serve(pool):
                self._serve(name, pool["id"])
        if matching:
            self._note_problem("", "")
        else:
            patterns = ", ".join(f"'{each}'" for each in self._options.patterns)
            self._note_problem("", f"no work pool matches {patterns}")
        for name in self._problems.keys() - matching.keys() - {""}:
            self._note_problem(name, "")

    def _may_serve(self, pool: Json) -> bool:
        """Whether this worker can serve a matching pool; logs once why it cannot."""
        name = pool["name"]
        try:
            check_servable(name, pool, self._options.type)
            kind_for(pool, self._options.runtime)
        except PoolError as error:
            if self._skipped.get(name) != error.message:
                self._skipped[name] = error.message
                self._event_log.emit(
                    Level.WARNING, EventName.POOL_SKIPPED, error.message, pool=name
                )
            return False
        return True

    def _note_problem(self, name: str, text: str) -> None:
        """Records why a pool is not served, "" if there is no reason any more; logs changes."""
        if self._problems.get(name, "") == text:
            return
        self._problems[name] = text
        if text:
            fields = {"pool": name} if name else {}
            self._event_log.emit(Level.WARNING, EventName.POOL_NOT_READY, text, **fields)
        if texts := list(filter(None, self._problems.values())):
            self._monitor.set_fault(Fault.POOL, "; ".join(texts))
        else:
            self._problems = {}
            self._monitor.clear_fault(Fault.POOL)

    def _serve(self, name: str, pool_id: str = "") -> None:
        """Starts the thread of a pool."""
        process = self._process
        monitor = HealthMonitor(loop_timeout=process.timings.loop_timeout)
        monitor.set_fault(Loop.START, "the worker is starting")
        served = _ServedPool(name, pool_id, Metrics(monitor))
        event_log = MeteredEventLog(process.raw_event_log, served.metrics, name)

        def serve() -> None:
            """Runs in the pool's thread."""
            options = self._options.for_pool(name)
            try:
                serve_pool(process, options, served.metrics, event_log, served.shutdown_requested)
            except Exception as error:
                served.error = error

        served.thread = threading.Thread(target=serve, name=f"pool-{name}", daemon=True)
        self._served[name] = served
        self._share_health()
        served.thread.start()

    def _release(self, served: _ServedPool) -> None:
        """Ends the service of a pool; its jobs keep running."""
        text = f"work pool '{served.name}' is not served any more: it was deleted"
        self._event_log.emit(Level.INFO, EventName.POOL_RELEASED, text, pool=served.name)
        served.shutdown_requested.cancel()
        self._released.append(self._served.pop(served.name))
        self._share_health()

    def _collect(self) -> None:
        """Looks for services that have ended by an error, or started after one; see `run` for what
        is raised."""
        self._released = [each for each in self._released if each.thread.is_alive()]
        for served in list(self._served.values()):
            error = served.error
            if served.thread.is_alive() or error is None or isinstance(error, Interrupted):
                if Loop.START not in served.metrics.monitor.state().faults:
                    self._note_problem(served.name, "")
                continue
            if not served.id or self._options.run_once:
                raise error
            del self._served[served.name]
            self._share_health()
            if isinstance(error, DeployctlError):
                self._note_problem(served.name, error.message)
            else:
                log_internal_error(self._event_log, error, f"the service of '{served.name}'")

    def _share_health(self) -> None:
        """Shows the present pools on the pages of the health server."""
        process, served = self._process, self._served
        process.health.pools = {name: each.metrics.monitor for name, each in served.items()}
        metrics = {name: each.metrics for name, each in served.items()}
        process.exporter.pools = {"": process.metrics, **metrics}

    def _shut_down(self) -> None:
        """Ends all services side by side; each has deadlines of its own."""
        threads = [each.thread for each in (*self._served.values(), *self._released)]
        for served in self._served.values():
            served.shutdown_requested.cancel()
        timings = self._process.timings
        end = time.monotonic() + timings.shutdown_grace + 2 * timings.join_timeout
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
