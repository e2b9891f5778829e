"""Which pools a worker with several serves, takes up and releases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from deployctl.app.worker import pool_set as module
from deployctl.app.worker.pool_set import PoolSet
from deployctl.app.worker.serving import WorkerContext, WorkerProcess
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import Interrupted, Unreachable
from deployctl.core.json_values import Json
from deployctl.worker.health.exporter import Exporter
from deployctl.worker.health.health_state import CombinedHealth, HealthMonitor, readiness_failures
from deployctl.worker.health.metrics import MeteredEventLog, Metrics
from deployctl.worker.server.pool import PoolError
from deployctl.worker.settings import WorkerSettings, WorkOptions
from deployctl.worker.timings import Timings
from tests.support.kubernetes_jobs import RecordingEventLog
from tests.support.waiting import until

UNUSED = cast(Any, None)


def pool(name: str, id: str = "", type: str = "process") -> Json:  # noqa: A002
    return {"name": name, "id": id or f"id-{name}", "type": type}


class Worker:
    """A `PoolSet` whose pools are served by threads that only wait."""

    def __init__(self, pools: list[str], **options: Any) -> None:
        self.serving: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.found: Callable[[], list[Json]] = list
        self.event_log = RecordingEventLog()
        self.stop = CancellationToken()
        monitor = HealthMonitor()
        metrics = Metrics(monitor)
        self.process = WorkerProcess(
            options=WorkOptions(pools[0], "w", tuple(pools[1:]), **options),
            context=WorkerContext(UNUSED, WorkerSettings(heartbeat_seconds=0.001), {}, ()),
            raw_event_log=self.event_log,
            event_log=MeteredEventLog(self.event_log, metrics),
            metrics=metrics,
            exporter=Exporter(lambda: 0.0),
            health=CombinedHealth(monitor),
            session=UNUSED,
            heartbeat_session=UNUSED,
            runtimes=UNUSED,
            shutdown_requested=self.stop,
            timings=Timings(tick=0.005),
        )
        self.pools = PoolSet(self.process)
        self.raised: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def serve(
        self,
        _process: object,
        options: WorkOptions,
        metrics: Metrics,
        _event_log: object,
        shutdown_requested: CancellationToken,
    ) -> None:
        assert options.other_pools == ()
        if error := self.errors.pop(options.pool, None):
            raise error
        metrics.monitor.clear_fault("start")
        self.serving.append(options.pool)
        if not options.run_once:
            assert shutdown_requested.wait(60.0)
        self.serving.remove(options.pool)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            self.pools.run()
        except BaseException as error:
            self.raised = error

    def end(self) -> None:
        self.stop.cancel()
        self._thread.join(60.0)
        assert self.serving == []

    def await_serving(self, *names: str) -> None:
        until(lambda: sorted(self.serving) == list(names), lambda: str(self.serving))

    def events(self, name: str) -> list[str]:
        return [message for _, event, message in self.event_log.entries if event == name]

    @property
    def faults(self) -> dict[str, str]:
        return readiness_failures(self.process.health.state(), self.process.health.clock())


@pytest.fixture
def worker_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def make(*pools: str, **options: Any) -> Worker:
        worker = Worker(list(pools), **options)
        workers.append(worker)
        monkeypatch.setattr(module, "serve_pool", worker.serve)
        monkeypatch.setattr(module, "run_inline", lambda _call, _session: worker.found())
        return worker

    monkeypatch.setattr(module, "scoped_session", lambda *_: UNUSED)
    yield make
    for worker in workers:
        worker.stop.cancel()


def test_serves_each_name_and_each_match_once(worker_of: Callable[..., Worker]) -> None:
    worker = worker_of("exact", "team-*", "team-a", "t?am-b")
    worker.found = lambda: [pool(name) for name in ("team-a", "team-b", "exact", "other")]
    worker.start()
    worker.await_serving("exact", "team-a", "team-b")
    until(lambda: not worker.faults)
    assert set(worker.process.exporter.pools) == {"", "exact", "team-a", "team-b"}
    worker.end()
    assert worker.raised is None


def test_pools_are_taken_up_and_released_while_it_runs(worker_of: Callable[..., Worker]) -> None:
    worker = worker_of("team-*")
    worker.start()
    until(lambda: worker.faults == {"pool": "no work pool matches 'team-*'"})
    worker.found = lambda: [pool("team-a"), pool("team-b")]
    worker.await_serving("team-a", "team-b")
    until(lambda: not worker.faults)
    worker.found = lambda: [pool("team-b")]
    worker.await_serving("team-b")
    assert worker.events("pool.released") == [
        "work pool 'team-a' is not served any more: it was deleted"
    ]
    assert set(worker.process.health.pools) == {"team-b"}
    worker.end()
    assert worker.events("pool.not_ready") == ["no work pool matches 'team-*'"]


def test_a_pool_that_replaces_another_of_its_name_is_served(
    worker_of: Callable[..., Worker],
) -> None:
    worker = worker_of("team-*")
    worker.found = lambda: [pool("team-a", "1")]
    worker.start()
    worker.await_serving("team-a")
    before = worker.process.health.pools["team-a"]
    worker.found = lambda: [pool("team-a", "2")]
    until(lambda: worker.process.health.pools["team-a"] is not before)
    worker.await_serving("team-a")
    worker.end()


def test_matching_pools_that_cannot_be_served_are_skipped_with_one_warning(
    worker_of: Callable[..., Worker],
) -> None:
    worker = worker_of("*")
    worker.found = lambda: [pool("a"), pool("b", type="ecs:push"), pool("c", type="vertex-ai")]
    worker.start()
    worker.await_serving("a")
    until(lambda: len(worker.events("pool.skipped")) == 2)
    assert worker.faults == {}
    worker.end()
    assert [message.partition(",")[0] for message in worker.events("pool.skipped")] == [
        "the work pool 'b' is of type 'ecs:push'",
        "the work pool 'c' is of type 'vertex-ai'",
    ]


def test_an_outage_of_the_server_releases_nothing(worker_of: Callable[..., Worker]) -> None:
    worker = worker_of("team-*")
    worker.found = lambda: [pool("team-a")]
    worker.start()
    worker.await_serving("team-a")

    def down() -> list[Json]:
        raise Unreachable("it is down")

    worker.found = down
    until(lambda: worker.faults == {"pools": "it is down"})
    assert worker.serving == ["team-a"]
    worker.found = lambda: [pool("team-a")]
    until(lambda: not worker.faults)
    worker.end()
    assert worker.events("pool.released") == []


def test_an_error_of_a_matching_pool_is_a_fault_and_tried_again(
    worker_of: Callable[..., Worker],
) -> None:
    worker = worker_of("team-*")
    worker.errors["team-a"] = PoolError("the work pool 'team-a' has no queue 'q'")
    worker.found = lambda: [pool("team-a"), pool("team-b")]
    worker.start()
    worker.await_serving("team-a", "team-b")
    worker.end()
    assert worker.events("pool.not_ready") == ["the work pool 'team-a' has no queue 'q'"]


def test_an_error_of_a_pool_that_was_named_ends_the_worker(
    worker_of: Callable[..., Worker],
) -> None:
    worker = worker_of("one", "two")
    worker.errors["two"] = PoolError("the work pool 'two' was deleted")
    worker.start()
    until(lambda: worker.raised)
    assert isinstance(worker.raised, PoolError)
    assert worker.serving == []


def test_run_once_ends_when_every_pool_is_done(worker_of: Callable[..., Worker]) -> None:
    worker = worker_of("one", "team-*", run_once=True)
    worker.found = lambda: [pool("team-a")]
    worker.pools.run()
    assert {each.name for each in worker.pools._served.values()} == {"one", "team-a"}


def test_a_signal_before_pools_are_found_is_an_interruption(
    worker_of: Callable[..., Worker],
) -> None:
    worker = worker_of("team-*")
    worker.stop.cancel()
    with pytest.raises(Interrupted):
        worker.pools.run()
