"""What a worker knows, and how many jobs it counts as its own."""

from __future__ import annotations

from collections.abc import Callable

from deployctl.worker.control.state_store import StateStore
from deployctl.worker.model import Job, JobChanged, JobsListed, Phase, Run


def a_run(name: str, type: str = "PENDING", attempt: str = "") -> Run:  # noqa: A002
    return Run(name, name, f"state-{name}", type, type.title(), 0.0, "d1", "f1", attempt=attempt)


def a_job(name: str, phase: Phase = Phase.WAITING, worker: str = "w") -> JobChanged:
    return JobChanged(Job(name, f"claim-{name}", name, "ns", f"ns:{name}", worker, phase, 0.0))


def test_a_job_counts_from_its_claim_to_its_end() -> None:
    table = StateStore(clock=lambda: 0.0)
    table.offer([a_run("a", "SCHEDULED")], 0.0)
    counts = [table.live("w")]
    steps: list[Callable[[], None]] = [
        lambda: table.in_flight.add("a"),
        lambda: table.claimed(a_run("a", attempt="claim-a")),
        lambda: table.hear(a_job("a")),
        lambda: table.hear(a_job("a", Phase.RUNNING)),
        lambda: table.in_flight.discard("a"),
        lambda: table.hear(a_job("a", Phase.SUCCEEDED)),
    ]
    for step in steps:
        step()
        counts.append(table.live("w"))
    assert counts == [0, 1, 1, 1, 1, 1, 0]


def test_a_run_counts_while_it_is_claimed_though_the_server_offers_it_no_more() -> None:
    table = StateStore(clock=lambda: 0.0)
    table.offer([a_run("a", "SCHEDULED"), a_run("b", "SCHEDULED")], 0.0)
    table.in_flight.add("a")
    table.offer([a_run("c", "SCHEDULED")], 0.0)
    assert table.live("w") == 1
    assert [run.id for run in table.due] == ["a", "c"]


def test_a_claim_of_another_process_counts_while_its_job_is_made() -> None:
    table = StateStore(clock=lambda: 0.0)
    table.know(a_run("a", attempt="claim-a"))
    counts = [table.live("w")]
    table.in_flight.add("a")
    counts.append(table.live("w"))
    table.hear(a_job("a"))
    counts.append(table.live("w"))
    assert counts == [0, 1, 1]


def test_a_list_does_not_hold_what_was_made_since_it_was_asked_for() -> None:
    now = 5.0
    table = StateStore(clock=lambda: now)
    table.created(a_job("a").job)
    table.hear(JobsListed("ns", (), 4.0))
    assert table.live("w") == 1
    table.hear(JobsListed("ns", (), 6.0))
    assert table.live("w") == 0


def test_a_job_that_was_heard_of_is_gone_when_a_list_does_not_hold_it() -> None:
    table = StateStore(clock=lambda: 5.0)
    table.created(a_job("a").job)
    table.hear(a_job("a"))
    table.hear(JobsListed("ns", (), 5.0))
    assert not table.jobs
    assert not table.created_at


def test_a_worker_that_does_not_lead_remembers_failures_only_of_what_it_has_to_do() -> None:
    table = StateStore(clock=lambda: 0.0)
    table.offer([a_run("due", "SCHEDULED")], 0.0)
    table.claimed(a_run("mine", attempt="claim-mine"))
    for run in ("due", "mine", "past"):
        table.pause(run, until=1.0)
    table.trim()
    assert table.failures == {"due": 1, "mine": 1}


def test_the_jobs_of_other_workers_do_not_count() -> None:
    table = StateStore(clock=lambda: 0.0)
    table.hear(a_job("a", worker="other"))
    assert table.live("w") == 0


def test_claims_that_others_left_without_a_job_are_owed_one() -> None:
    table = StateStore(clock=lambda: 0.0)
    table.know(a_run("left", attempt="claim-left"))
    table.know(a_run("foreign"))
    table.claimed(a_run("mine", attempt="claim-mine"))
    table.know(a_run("there", attempt="claim-there"))
    table.hear(a_job("there"))

    def unstarted_claims() -> int:
        return table.world(
            0.0, slots=None, claiming=True, is_leader=True, hears=True
        ).unstarted_claims

    counts = [unstarted_claims()]
    table.in_flight.add("left")
    counts.append(unstarted_claims())
    table.in_flight.discard("left")
    table.pause("left", 9.0)
    counts.append(unstarted_claims())
    assert counts == [1, 0, 1]
