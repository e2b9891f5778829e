"""When a worker polls, in virtual time: at intervals, and when a run becomes due."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deployctl.api.calls import Request
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import Unreachable
from deployctl.core.json_values import Json
from deployctl.worker.control.state_store import StateStore
from deployctl.worker.health.health_state import HealthMonitor
from deployctl.worker.poll_schedule import PollSchedule
from deployctl.worker.service import Service
from deployctl.worker.settings import WorkerSettings, WorkOptions
from deployctl.worker.timings import Timings
from tests.support.kubernetes_jobs import RecordingEventLog
from tests.unit.worker.simulated_server import Proposed
from tests.unit.worker.simulation import Simulation

UNUSED = cast(Any, None)
START = 1_000_000.0
TIMINGS = Timings()


@dataclass
class VirtualServer:
    """A session with a server whose runs are scheduled at `starts`."""

    starts: list[float]
    slots: int = 200
    now: float = START
    down: bool = False
    polls: list[float] = field(default_factory=list)
    latency: float = 0.02

    def server_clock(self) -> float:
        return self.now

    def send(self, request: Request, *, finish: bool = False) -> Json:  # noqa: ARG002
        self.now += self.latency
        self.polls.append(self.now)
        if self.down:
            raise Unreachable("gone")
        before = datetime.fromisoformat(request.body["scheduled_before"]).timestamp()
        due = sorted(start for start in self.starts if start <= before)[: self.slots]
        return [{"work_pool_id": "p", "flow_run": flow_run(start)} for start in due]


def flow_run(start: float) -> Json:
    return {
        "id": f"run-{start}",
        "name": "fox",
        "state_type": "SCHEDULED",
        "next_scheduled_start_time": datetime.fromtimestamp(start, UTC).isoformat(),
    }


class Worker:
    """A worker that claims at once what a poll has returned."""

    def __init__(
        self, server: VirtualServer, *, prefetch: float = 0.0, is_leader: bool = True
    ) -> None:
        self.server = server
        self.claimed: dict[float, float] = {}
        self.store = StateStore(clock=server.server_clock)
        self.reconciler = SimpleNamespace(enqueue=self._apply, claims_wait=False)
        self.service = Service(
            options=WorkOptions("p", "w"),
            settings=WorkerSettings(prefetch_seconds=prefetch),
            session=cast(Any, server),
            heartbeat_session=UNUSED,
            runtime=cast(Any, SimpleNamespace(owner="o")),
            leadership=cast(Any, SimpleNamespace(is_leader=is_leader)),
            job_specs=cast(Any, SimpleNamespace(pool={"id": "p", "name": "p"}, offered={})),
            reporter=UNUSED,
            reconciler=cast(Any, self.reconciler),
            monitor=HealthMonitor(),
            event_log=RecordingEventLog(),
            shutdown_requested=CancellationToken(),
            loops_cancelled=CancellationToken(),
            clock=server.server_clock,
        )

    def _apply(self, change: Any) -> None:
        change(self.store)
        for run in self.store.due:
            start = float(run.id.removeprefix("run-"))
            self.claimed[start] = self.server.now
            self.server.starts.remove(start)
        self.store.due = []

    def work(self, seconds: float) -> None:
        """Let the poll loop run for this long."""
        end = self.server.now + seconds
        while self.server.now < end:
            with suppress(Unreachable):
                self.service._poll_if_due()
            self.server.now += max(0.001, self.service._poll_wait())


@pytest.mark.parametrize("prefetch", [0.0, 10.0, 30.0])
def test_a_run_is_claimed_at_its_time_and_not_at_the_next_poll(prefetch: float) -> None:
    starts = [START + prefetch + each for each in (5.0, 17.3, 41.0, 88.8)]
    worker = Worker(VirtualServer(list(starts)), prefetch=prefetch)
    worker.work(100)
    late = [worker.claimed[start] - (start - prefetch) for start in starts]
    assert min(late) >= 0
    assert max(late) < 0.3


def test_an_idle_worker_polls_no_more_often_than_its_interval() -> None:
    worker = Worker(VirtualServer([]))
    worker.work(1000)
    assert 90 <= len(worker.server.polls) <= 110


def test_a_run_costs_two_more_polls() -> None:
    worker = Worker(VirtualServer([START + 500.0]))
    worker.work(1000)
    assert len(worker.server.polls) <= 110 + 2


def test_a_due_run_is_claimed_although_a_limit_lets_only_another_one_be_seen_ahead() -> None:
    """The server returns as many runs as there are slots, those of urgent queues first."""
    server = VirtualServer([START - 1, START + 9.0], slots=1)
    answer = server.send

    def urgent_last(request: Request, *, finish: bool = False) -> Json:  # noqa: ARG001
        server.starts.sort(reverse=True)
        return answer(request)

    server.send = urgent_last  # type: ignore[method-assign]
    worker = Worker(server)
    worker.service._poll_if_due()
    assert list(worker.claimed) == [START - 1]


def test_runs_that_become_due_in_a_row_share_polls() -> None:
    starts = [START + 5 + number / 100 for number in range(100)]
    worker = Worker(VirtualServer(list(starts)))
    worker.work(10)
    assert max(worker.claimed[start] - start for start in starts) < 0.3
    assert len(worker.server.polls) < 10


def test_runs_behind_a_full_page_are_seen_when_those_of_the_page_are_due() -> None:
    starts = [START + 1 + number / 40 for number in range(300)]
    worker = Worker(VirtualServer(list(starts)))
    worker.work(10)
    assert max(worker.claimed[start] - start for start in starts) < 0.5


def test_a_follower_leaves_a_run_to_the_leader_for_a_moment() -> None:
    worker = Worker(VirtualServer([START + 5]), is_leader=False)
    worker.work(9)
    assert 0.5 <= worker.claimed[START + 5] - (START + 5) < 1.6


def test_a_failed_poll_is_repeated_at_an_interval() -> None:
    worker = Worker(VirtualServer([START + 5], down=True))
    worker.work(100)
    assert 7 <= len(worker.server.polls) <= 15


def test_the_loop_waits_after_shutdown_was_requested() -> None:
    worker = Worker(VirtualServer([START]))
    worker.service.shutdown_requested.cancel()
    worker.service._poll_if_due()
    assert worker.service._poll_wait() > 1
    assert worker.server.polls == []


def test_an_offer_is_refreshed_while_claims_wait() -> None:
    worker = Worker(VirtualServer([START]))
    worker.reconciler.claims_wait = True
    worker.work(0.5)
    assert len(worker.server.polls) == 1
    worker.server.starts.append(START)
    worker.work(1.0)
    assert len(worker.server.polls) == 2
    worker.reconciler.claims_wait = False
    worker.work(5.0)
    assert len(worker.server.polls) == 2


def test_a_full_page_is_followed_by_the_next_one() -> None:
    schedule = PollSchedule(10.0, random.Random(1))
    schedule.begin(0.0)
    schedule.end(0.1, 200, more=True, follows=False)
    assert schedule.is_due(TIMINGS.tick, claims_wait=False)
    assert not schedule.is_due(TIMINGS.tick / 2, claims_wait=False)


def test_a_worker_asks_for_as_many_runs_as_it_can_claim() -> None:
    schedule = PollSchedule(10.0, random.Random(1))
    assert schedule.page(0) == 200
    schedule.begin(0.0)
    schedule.end(0.1, 200, more=True, follows=False)
    assert schedule.page(180) == 80
    assert schedule.page(200) == 64
    assert schedule.page(100) == 200


def test_a_slow_server_is_polled_less_often() -> None:
    schedule = PollSchedule(10.0, random.Random(1))
    schedule.begin(0.0)
    schedule.add_moments([0.5, 1.0])
    schedule.end(1.0, 200, more=True, follows=False)
    assert not schedule.is_due(4.9, claims_wait=10)
    assert schedule.is_due(5.0, claims_wait=10)


def test_a_follower_polls_less_and_less_while_the_leader_leaves_nothing() -> None:
    server = VirtualServer([])
    worker = Worker(server, is_leader=False)

    def leader() -> None:
        """Claims each run when it is due."""
        server.starts = [start for start in server.starts if start > server.now]

    server.starts = [START + number / 10 for number in range(1000)]
    answer = server.send

    def after_leader(request: Request, *, finish: bool = False) -> Json:  # noqa: ARG001
        leader()
        return answer(request)

    server.send = after_leader  # type: ignore[method-assign]
    worker.work(100)
    assert worker.claimed == {}
    assert len(server.polls) < 60


def test_a_follower_claims_all_runs_of_a_leader_that_is_gone() -> None:
    starts = [START + number / 2 for number in range(100)]
    worker = Worker(VirtualServer(list(starts)), is_leader=False)
    worker.work(70)
    late = [worker.claimed[start] - start for start in starts]
    assert min(late) >= 0.5
    assert sum(late) / len(late) < 3


@pytest.mark.parametrize(("count", "shortest"), [(100, 10.0), (250, 20.0)])
def test_many_pages_of_active_runs_are_read_less_often(count: int, shortest: float) -> None:
    """A second for each request: a slow server must not be kept busy by this alone."""
    simulation = Simulation(3, runs=count, workers=1, polite=True)
    for run in simulation.runs:
        simulation.server.propose(run, Proposed("RUNNING", "Running"))
    worker = simulation.workers[0]
    worker.sync()
    simulation.check_request = lambda request: simulation.wait(1)  # type: ignore[method-assign]  # noqa: ARG005
    worker.sync()
    interval = worker.service._sync_interval()
    assert interval == shortest if count == 100 else interval >= shortest
