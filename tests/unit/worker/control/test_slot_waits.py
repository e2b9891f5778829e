"""Deployments without a free concurrency slot: when which of their runs is claimed again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployctl.api.calls import Request
from deployctl.core.json_values import Json
from deployctl.worker.control.slot_waits import SLOT_STATE, SlotWaits
from deployctl.worker.model import Run
from deployctl.worker.timings import Timings
from tests.unit.worker.simulation import Simulation

TIMINGS = Timings()
RUN = Run("r0", "fox", "s", "SCHEDULED", "Scheduled", 0.0, "d", "f")
RUNS = [replace(RUN, id=f"r{number}") for number in range(5)]
OTHER = replace(RUN, id="other", deployment="other")


def askable(waits: SlotWaits, now: float, in_flight: frozenset[str] = frozenset()) -> list[str]:
    return [run.id for run in waits.askable([*RUNS, OTHER], in_flight, now)]


def test_a_deployment_without_a_slot_is_asked_for_one_run_after_a_pause() -> None:
    waits = SlotWaits()
    assert len(askable(waits, 0.0)) == len(RUNS) + 1
    waits.refuse(RUNS[3], 0.0)
    assert askable(waits, 0.5) == ["other"]
    assert askable(waits, TIMINGS.slot_wait_first) == ["r0", "other"]
    assert askable(waits, TIMINGS.slot_wait_first, frozenset({"r4"})) == ["other"]


def test_pauses_grow_up_to_a_limit_and_claims_sent_together_count_once() -> None:
    waits, now, pauses = SlotWaits(), 0.0, []
    for _ in range(8):
        for run in RUNS:
            waits.refuse(run, now)
        began = now
        while askable(waits, now) == ["other"]:
            now += 0.5
        pauses.append(now - began)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize("how", ["claimed", "ended"])
def test_a_slot_that_is_free_ends_the_pause(how: str) -> None:
    waits = SlotWaits()
    for now in (0.0, 1.0, 3.0):
        waits.refuse(RUNS[0], now)
    if how == "claimed":
        waits.accept(RUNS[1])
    else:
        waits.end("d")
    assert askable(waits, 3.1) == ["r0", "other"]
    waits.refuse(RUNS[0], 3.1)
    assert askable(waits, 3.1 + TIMINGS.slot_wait_first) == ["r0", "other"]


def test_a_deployment_is_forgotten_when_the_server_offers_none_of_its_runs() -> None:
    waits = SlotWaits()
    waits.refuse(RUNS[0], 0.0)
    assert waits.waits(RUNS[1])
    assert len(askable(waits, TIMINGS.slot_wait_memory + 1)) == len(RUNS) + 1
    assert not waits.waits(RUNS[1])


@pytest.mark.parametrize(
    ("refused", "due", "text"),
    [
        ([], RUNS, ""),
        (RUNS[:1], [], "1 run of 1 deployment waits for a concurrency slot"),
        (RUNS[:2], RUNS[1:], "5 runs of 1 deployment wait for a concurrency slot"),
        ([RUNS[0], OTHER], [], "2 runs of 2 deployments wait for a concurrency slot"),
    ],
)
def test_the_summary_counts_refused_and_due_runs(
    refused: list[Run], due: list[Run], text: str
) -> None:
    waits = SlotWaits()
    for run in refused:
        waits.refuse(run, 0.0)
    assert waits.summary(due) == text


class LimitedServer:
    """The concurrency limit of a deployment: refused runs are offered again after 30 s."""

    def __init__(self, simulation: Simulation, slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.simulation, self.slots, self.claims = simulation, slots, 0
        self.held: dict[str, float] = {}
        answer = simulation.server.answer
        monkeypatch.setattr(
            type(simulation.server), "answer", lambda _, request: self.answer(request, answer)
        )

    def answer(self, request: Request, answer: object) -> Json:
        assert callable(answer)
        now = self.simulation.clock.now
        if request.path.endswith("get_scheduled_flow_runs"):
            offers = answer(request)
            return [each for each in offers if self.held.get(each["flow_run"]["id"], 0) <= now]
        if not request.path.endswith("/set_state") or request.body["state"]["name"] != "Pending":
            return answer(request)
        self.claims += 1
        server = self.simulation.server
        taken = sum(server.type_of(run) in ("PENDING", "RUNNING") for run in server.rows)
        if taken < self.slots:
            return answer(request)
        run = request.path.split("/")[2]
        self.held[run] = now + 30
        state = dict(server.rows[run]["state"]) | {"type": "SCHEDULED", "name": SLOT_STATE}
        return {"status": "REJECT", "state": state, "details": {"reason": "limit reached"}}


def test_many_waiting_runs_cost_few_claims_and_none_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulation = Simulation(3, runs=60, workers=1, polite=True)
    limited = LimitedServer(simulation, 2, monkeypatch)
    for _ in range(85):
        simulation.wait(1)
        simulation.run_workers()
    assert len(simulation.cluster.created) == 2
    assert limited.claims < 40

    for _ in range(400):
        for step in (simulation.begin, simulation.finish):
            for job in list(simulation.cluster.jobs.values()):
                step(job)
        simulation.wait(1)
        simulation.run_workers()
    assert all(simulation.server.type_of(run) == "COMPLETED" for run in simulation.runs)
