"""The state store: merging lists with newer updates, and counting live Jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from deployctl.worker.control.actions import Start
from deployctl.worker.control.slots import count_live_jobs, count_waiting_for_slot
from deployctl.worker.control.state_store import StateStore
from deployctl.worker.model import Job, JobChanged, JobsListed, JobVanished, Phase, Run


def a_run(name: str, type: str = "PENDING", attempt: str = "") -> Run:  # noqa: A002
    return Run(name, name, f"state-{name}", type, type.title(), 0.0, "d1", "f1", attempt=attempt)


def a_job(name: str, phase: Phase = Phase.WAITING, worker: str = "w") -> JobChanged:
    return JobChanged(Job(name, f"claim-{name}", name, "ns", f"ns:{name}", worker, phase, 0.0))


def test_a_job_counts_as_live_from_its_claim_to_its_end() -> None:
    store = StateStore(clock=lambda: 0.0)
    store.set_due([a_run("a", "SCHEDULED")], 0.0)
    counts = [count_live_jobs(store, "w")]
    steps: list[Callable[[], None]] = [
        lambda: store.in_flight.add("a"),
        lambda: store.add_claim(a_run("a", attempt="claim-a")),
        lambda: store.apply(a_job("a")),
        lambda: store.apply(a_job("a", Phase.RUNNING)),
        lambda: store.in_flight.discard("a"),
        lambda: store.apply(a_job("a", Phase.SUCCEEDED)),
    ]
    for step in steps:
        step()
        counts.append(count_live_jobs(store, "w"))
    assert counts == [0, 1, 1, 1, 1, 1, 0]


def test_a_run_counts_while_its_claim_is_in_flight_and_it_is_no_longer_offered() -> None:
    store = StateStore(clock=lambda: 0.0)
    store.set_due([a_run("a", "SCHEDULED"), a_run("b", "SCHEDULED")], 0.0)
    store.in_flight.add("a")
    store.set_due([a_run("c", "SCHEDULED")], 0.0)
    assert count_live_jobs(store, "w") == 1
    assert [run.id for run in store.due] == ["a", "c"]


def test_a_claim_of_another_process_counts_while_its_job_is_created() -> None:
    store = StateStore(clock=lambda: 0.0)
    run = a_run("a", attempt="claim-a")
    start = Start(run, fresh=False)
    store.refresh_run(run)
    counts = [count_live_jobs(store, "w")]
    steps: list[Callable[[], None]] = [
        lambda: store.begin(start),
        lambda: store.refresh_run(a_run("a", "SCHEDULED")),
        lambda: store.refresh_run(run),
        lambda: store.begin(start),
        lambda: store.end(start),
        lambda: store.apply(a_job("a")),
    ]
    for step in steps:
        step()
        counts.append(count_live_jobs(store, "w"))
    assert counts == [0, 1, 1, 1, 1, 1, 1]


def test_a_list_does_not_drop_a_job_created_after_it_was_requested() -> None:
    now = 5.0
    store = StateStore(clock=lambda: now)
    store.add_job(a_job("a").job)
    store.apply(JobsListed("ns", (), 4.0))
    assert count_live_jobs(store, "w") == 1
    store.apply(JobsListed("ns", (), 6.0))
    assert count_live_jobs(store, "w") == 0


def test_a_list_without_an_observed_job_drops_it() -> None:
    store = StateStore(clock=lambda: 5.0)
    store.add_job(a_job("a").job)
    store.apply(a_job("a"))
    store.apply(JobsListed("ns", (), 5.0))
    assert not store.jobs
    assert not store.created_at


def test_a_follower_keeps_failures_only_of_its_own_runs() -> None:
    store = StateStore(clock=lambda: 0.0)
    store.set_due([a_run("due", "SCHEDULED")], 0.0)
    store.add_claim(a_run("own", attempt="claim-own"))
    for run in ("due", "own", "past"):
        store.back_off(run, until=1.0)
    store.trim()
    assert store.failures == {"due": 1, "own": 1}


def test_jobs_of_other_workers_do_not_count() -> None:
    store = StateStore(clock=lambda: 0.0)
    store.apply(a_job("a", worker="other"))
    assert count_live_jobs(store, "w") == 0


def test_counts_unstarted_claims_of_other_processes() -> None:
    store = StateStore(clock=lambda: 0.0)
    store.refresh_run(a_run("left", attempt="claim-left"))
    store.refresh_run(a_run("foreign"))
    store.add_claim(a_run("own", attempt="claim-own"))
    store.refresh_run(a_run("there", attempt="claim-there"))
    store.apply(a_job("there"))

    def unstarted_claims() -> int:
        return store.snapshot(
            0.0, slots=None, claiming=True, is_leader=True, watches_synced=True
        ).unstarted_claims

    counts = [unstarted_claims()]
    store.in_flight.add("left")
    counts.append(unstarted_claims())
    store.in_flight.discard("left")
    store.back_off("left", 9.0)
    counts.append(unstarted_claims())
    assert counts == [1, 0, 1]


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        ({}, True),
        ({"type": "PENDING", "attempt": "claim-b"}, False),
        ({"type": "PENDING", "foreign": True}, False),
        ({"type": "PENDING", "state_id": "unknown"}, True),
        ({"type": "RUNNING"}, True),
        ({"type": "RUNNING", "attempt": "claim-a"}, False),
        ({"type": "RUNNING", "foreign": True}, False),
        ({"type": "SCHEDULED"}, False),
        ({"type": "COMPLETED"}, False),
    ],
)
@pytest.mark.parametrize("listed", [True, False])
def test_an_own_claim_is_dropped_once_the_run_is_under_another(
    after: dict[str, Any], kept: bool, listed: bool
) -> None:
    now = 5.0
    store = StateStore(clock=lambda: now)
    store.add_claim(a_run("a", attempt="claim-a"))
    changed = {"attempt": "", "state_id": "other"} if after else {}
    run = replace(a_run("a", attempt="claim-a"), **(changed | after))
    now = 6.0
    if listed:
        store.sync((), [run], now)
    else:
        store.refresh_run(run)
    assert (store.claims.runs == {"claim-a": "a"}) is kept
    assert count_live_jobs(store, "w") == int(kept)


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("end", ["ended", "deleted"])
def test_a_claim_keeps_its_slot_while_its_job_may_exist(end: str, seen: bool) -> None:
    store = StateStore(clock=lambda: 0.0)
    run = a_run("a", attempt="claim-a")
    store.add_claim(run)
    store.begin(Start(run, fresh=True))
    store.end(Start(run, fresh=True))
    if end == "ended":
        store.refresh_run(a_run("a", "COMPLETED"))
    else:
        store.forget_run("a")
    assert (store.claims.runs, store.claims.left) == ({}, {"claim-a": run})
    assert count_live_jobs(store, "w") == 1
    assert not store.is_idle
    if seen:
        store.add_job(a_job("a", Phase.SUCCEEDED).job)
    else:
        store.claims.mark_missing("claim-a")
    assert count_live_jobs(store, "w") == 0
    assert store.is_idle


def test_the_end_of_a_run_whose_job_was_seen_live_is_noticed_once() -> None:
    store = StateStore(clock=lambda: 0.0)
    store.apply(JobsListed("ns", (a_job("over", Phase.SUCCEEDED).job,), 0.0))
    store.apply(a_job("a", Phase.RUNNING))
    store.sync(["a"], [a_run("a", "RUNNING")], 0.5)
    for _ in range(2):
        store.sync(["a", "over"], [a_run("a", "COMPLETED"), a_run("over", "COMPLETED")], 1.0)
        store.apply(a_job("a", Phase.RUNNING))
    assert [*store.ended] == ["a"]
    assert store.unfinished == set()


def test_an_end_before_the_first_sync_is_left_to_the_last_leader() -> None:
    store = StateStore(clock=lambda: 0.0)
    store.apply(a_job("a", Phase.RUNNING))
    store.sync(["a"], [a_run("a", "CRASHED")], 1.0)
    assert not store.ended
    assert store.unfinished == set()


def test_an_end_that_this_worker_reported_is_not_noticed_again() -> None:
    store = StateStore(clock=lambda: 0.0)
    store.apply(a_job("a"))
    store.refresh_run(a_run("a", "CRASHED"), end_reported=True)
    store.sync(["a"], [a_run("a", "CRASHED")], 1.0)
    assert not store.ended


def test_unfinished_runs_are_forgotten_with_their_jobs_or_when_they_are_deleted() -> None:
    store = StateStore(clock=lambda: 0.0)
    for name in "abc":
        store.apply(a_job(name))
    store.apply(JobVanished("claim-a"))
    store.sync(["b"], [], 1.0)
    assert store.unfinished == {"a", "c"}
    store.trim()
    assert store.unfinished == {"c"}


def test_waits_of_jobs_are_measured_from_when_they_were_first_seen() -> None:
    now = [0.0]
    store = StateStore(clock=lambda: now[0])
    store.apply(JobsListed("ns", (a_job("older").job,), 0.0))
    store.add_job(a_job("created").job)
    now[0] = 3.0
    store.apply(a_job("created"))
    now[0] = 5.0
    waits = [store.waited(f"claim-{name}") for name in ("older", "created", "created")]
    assert waits == [None, 5.0, None]


def test_counts_runs_that_wait_for_a_slot() -> None:
    store = StateStore(clock=lambda: 0.0)
    store.set_due([a_run(name, "SCHEDULED") for name in "abc"], 0.0)
    store.withdraw_offer("a", waits_for_slot=True)
    store.withdraw_offer("b")
    assert [count_waiting_for_slot(store, slots) for slots in (None, 1, 0)] == [1, 1, 2]
    store.add_claim(a_run("a", attempt="x"))
    assert count_waiting_for_slot(store, None) == 0


def test_a_check_of_an_unclaimed_run_in_flight_takes_no_slot() -> None:
    store = StateStore(clock=lambda: 0.0)
    store.refresh_run(a_run("a", "RUNNING"))
    store.in_flight.add("a")
    assert count_live_jobs(store, "w") == 0


@pytest.mark.parametrize("why", ["back-off", "ending", "old Job"])
def test_a_run_that_may_not_be_claimed_does_not_stand_for_its_deployment(why: str) -> None:
    store = StateStore(clock=lambda: 0.0)
    store.set_due([a_run(name, "SCHEDULED") for name in "abc"], 0.0)
    store.slot_waits.refuse(store.due[2], 0.0)
    if why == "back-off":
        store.back_off("a", 100.0)
    elif why == "ending":
        store.endings.attempts["a"] = "claim-a"
    else:
        store.apply(a_job("a"))
    found = store.snapshot(50.0, slots=None, claiming=True, is_leader=True, watches_synced=True)
    assert [run.id for run in found.due] == ["b"]


def test_deleted_jobs_are_forgotten_although_no_run_is_due() -> None:
    now = 0.0
    store = StateStore(clock=lambda: now)
    for number in range(5):
        job = replace(a_job(f"run-{number}", Phase.RUNNING).job, deleting=True, started=True)
        store.apply(JobChanged(job))
        store.apply(JobVanished(job.attempt))
        now += 60.0
    assert len(store.endings._held_until) == 1


@pytest.mark.parametrize(
    ("until", "claim", "report"), [(None, False, False), (50.0, False, False), (101.0, True, True)]
)
def test_a_worker_that_stops_waits_for_what_it_can_still_do(
    until: float | None, claim: bool, report: bool
) -> None:
    claiming, reporting = (StateStore(clock=lambda: 0.0) for _ in range(2))
    run = a_run("a", attempt="claim-a")
    claiming.add_claim(run)
    reporting.refresh_run(run)
    reporting.add_unreported(run, a_job("a").job)
    for store in (claiming, reporting):
        assert not store.may_stop(100.0)
        if until:
            store.back_off("a", until)
    assert (claiming.may_stop(100.0), reporting.may_stop(100.0)) == (claim, report)


def test_the_end_of_a_job_frees_a_slot_also_for_a_follower() -> None:
    store = StateStore(clock=lambda: 0.0)
    run = a_run("a", attempt="claim-a")
    store.add_claim(run)
    store.add_unreported(run, a_job("a").job)
    store.trim()
    assert store.runs == {}
    store.slot_waits.refuse(a_run("b", "SCHEDULED"), 0.0)
    store.set_due([a_run("b", "SCHEDULED")], 0.0)

    def claimable() -> list[str]:
        found = store.snapshot(0.5, slots=1, claiming=True, is_leader=False, watches_synced=True)
        return [run.id for run in found.due]

    assert claimable() == []
    store.apply(a_job("a", Phase.SUCCEEDED))
    assert claimable() == ["b"]
