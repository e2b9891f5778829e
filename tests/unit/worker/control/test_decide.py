"""Which action each difference between a run and its Job leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from deployctl.jobs.model import Limits
from deployctl.worker.control.actions import (
    Claim,
    CleanUpStart,
    ConfirmMissing,
    DeleteJob,
    FindJob,
    FinishSetup,
    ReportFinalState,
    ResolveClaim,
    Start,
)
from deployctl.worker.control.decide import CANCELLED, decide
from deployctl.worker.control.reports import MAX_REPORTS, Report, ReportDelay, ReportJob
from deployctl.worker.control.snapshot import Snapshot
from deployctl.worker.model import Cause, Job, Phase, Run
from deployctl.worker.server.claims import Proposal
from deployctl.worker.timings import Timings

NOW = 1_000_000.0
TIMINGS = Timings()
PULL = Cause("ImagePull", "The image is not there", stuck=True)


def a_run(type: str = "PENDING", **more: Any) -> Run:  # noqa: A002
    run = Run("r1", "red-fox", "s1", type, type.title(), NOW - 5, "d1", "f1", attempt="a1")
    return replace(run, **more)


def a_job(phase: Phase = Phase.WAITING, **more: Any) -> Job:
    started = phase is not Phase.WAITING
    job = Job("r1", "a1", "red-fox-1", "ns", "ns:red-fox-1", "w", phase, NOW - 1, started)
    return replace(job, **more)


def snapshot(run: Run | None, job: Job | None = None, **more: Any) -> Snapshot:
    runs: Mapping[str, Run] = {run.id: run} if run else {}
    jobs: Mapping[str, Job] = {job.attempt: job} if job else {}
    return replace(Snapshot(NOW, runs=runs, jobs=jobs), **more)


def test_claims_due_runs_in_the_order_of_the_server() -> None:
    due = [a_run("SCHEDULED", id=name, attempt="") for name in "cab"]
    assert decide(snapshot(None, due=due)) == [Claim(run, fresh=True) for run in due]


@pytest.mark.parametrize(
    ("more", "claimed"),
    [
        ({"slots": 2}, 2),
        ({"slots": 0}, 0),
        ({"claiming": False}, 0),
        ({"in_flight": frozenset({"c"})}, 2),
        ({"is_leader": False, "complete": False}, 3),
    ],
)
def test_claims_only_what_slots_and_state_allow(more: dict[str, Any], claimed: int) -> None:
    due = [a_run("SCHEDULED", id=name, attempt="") for name in "cab"]
    assert len(decide(snapshot(None, due=due, **more))) == claimed


def test_starts_abandoned_claims_before_claiming_more() -> None:
    due = [a_run("SCHEDULED", id=name, attempt="") for name in "ca"]
    actions = decide(snapshot(a_run(**OLD), due=due, slots=2, **MISSING))
    assert [type(action) for action in actions] == [Start, Claim]


@pytest.mark.parametrize(
    ("job", "claimed"),
    [(a_job(), 0), (a_job(deleting=True), 0), (a_job(Phase.RUNNING), 1), (a_job(Phase.FAILED), 1)],
)
def test_does_not_claim_a_run_while_an_old_job_could_start_it(job: Job, claimed: int) -> None:
    due = a_run("SCHEDULED", attempt="")
    assert len(decide(snapshot(None, job, due=[due], is_leader=False))) == claimed


@pytest.mark.parametrize(
    ("run", "age", "fresh"),
    [({}, 0, True), ({}, TIMINGS.offer_ttl, False), ({"pid": "ns:red-fox-0"}, 0, False)],
)
def test_trusts_an_offer_briefly_and_never_after_an_earlier_attempt(
    run: dict[str, str], age: float, fresh: bool
) -> None:
    due = a_run("SCHEDULED", attempt="", **run)
    assert decide(snapshot(None, due=[due], age=age)) == [Claim(due, fresh)]


@pytest.mark.parametrize("is_leader", [True, False])
def test_looks_for_an_own_job_that_has_started_its_run_unseen(is_leader: bool) -> None:
    run = a_run("RUNNING", attempt="")
    actions = decide(snapshot(run, own_claims={"a1": "r1"}, is_leader=is_leader))
    assert actions == [ResolveClaim(run)]


@pytest.mark.parametrize(("slots", "started"), [(None, 3), (0, 3), (-1, 2), (-3, 0), (-5, 0)])
def test_own_claims_above_the_limit_wait(slots: int | None, started: int) -> None:
    runs = {name: a_run(id=name, attempt=f"claim-{name}") for name in "abc"}
    claims = {run.attempt: run.id for run in runs.values()}
    actions = decide(snapshot(None, runs=runs, own_claims=claims, slots=slots))
    assert actions == [Start(runs[name], fresh=True) for name in "abc"[:started]]


@pytest.mark.parametrize(("in_flight", "found"), [("", 1), ("r1", 0)])
def test_looks_for_the_job_of_a_claim_that_its_run_has_left(in_flight: str, found: int) -> None:
    left = {"a1": a_run(attempt="a1")}
    given = snapshot(None, left_claims=left, in_flight=frozenset({in_flight}), is_leader=False)
    assert decide(given) == [FindJob(left["a1"])] * found


def test_starts_own_claims_whether_or_not_this_worker_leads() -> None:
    run = a_run()
    started = decide(snapshot(run, own_claims={"a1": "r1"}, is_leader=False, complete=False))
    assert started == [Start(run, fresh=True)]


REPORT = ReportJob(a_run("RUNNING", id="created", pid="ns:red-fox-1"), a_job(since=NOW))
LATE = replace(REPORT, job=a_job(since=NOW - TIMINGS.report_delay))
DELAY = ReportDelay(a_run(id="delayed"), NOW)
OWN = {"a1": "r1"}
DUE = a_run("SCHEDULED", id="due", attempt="")


@pytest.mark.parametrize(
    ("report", "more", "reported"),
    [
        (REPORT, {}, True),
        (REPORT, {"due": [DUE]}, False),
        (REPORT, {"starting": True}, False),
        (REPORT, {"runs": {"r1": a_run()}, "own_claims": {"a1": "r1"}}, False),
        (REPORT, {"due": [DUE], "slots": 0}, True),
        (REPORT, {"due": [DUE], "in_flight": frozenset({"due"})}, True),
        (REPORT, {"in_flight": frozenset({"created"})}, False),
        (LATE, {"due": [DUE], "starting": True}, True),
        (LATE, {"reporting": MAX_REPORTS}, False),
    ],
)
@pytest.mark.parametrize("is_leader", [True, False])
def test_a_job_is_reported_when_no_run_waits_or_the_report_is_late(
    report: ReportJob, more: dict[str, Any], reported: bool, is_leader: bool
) -> None:
    actions = decide(snapshot(None, reports=[report], is_leader=is_leader, **more))
    assert (report in actions) is reported


def test_late_reports_come_before_claims_and_others_last() -> None:
    busy = decide(snapshot(a_run(), reports=[REPORT, LATE], due=[DUE], own_claims=OWN))
    assert busy == [Start(a_run(), fresh=True), LATE, Claim(DUE, fresh=True)]
    others = replace(REPORT, run=a_run("RUNNING", id="other"))
    idle = decide(snapshot(a_run("CANCELLING", pid="x"), reports=[others, LATE]))
    assert idle == [ReportFinalState(a_run("CANCELLING", pid="x"), CANCELLED), LATE, others]


@pytest.mark.parametrize(("since", "reported"), [(NOW, 0), (NOW - TIMINGS.report_delay, 1)])
def test_a_delay_is_reported_when_no_run_waits_or_the_report_is_late(
    since: float, reported: int
) -> None:
    delay = replace(DELAY, since=since)
    assert decide(snapshot(None, reports=[delay])) == [delay]
    assert len(decide(snapshot(None, reports=[delay], due=[DUE]))) == 1 + reported


def test_few_reports_are_in_flight_at_once() -> None:
    jobs: list[Report] = [replace(REPORT, run=a_run("RUNNING", id=name)) for name in "abcdef"]
    assert len(decide(snapshot(None, reports=[*jobs, DELAY]))) == MAX_REPORTS


LONG_AGO = NOW - 1000
MISSING: dict[str, Any] = {"missing": {"r1": NOW - TIMINGS.vanished_after}}
OLD: dict[str, Any] = {"since": NOW - max(TIMINGS.cancel_grace, TIMINGS.orphaned_after)}
IGNORES_CANCELLATION = Limits(ignores_cancellation=True)


@pytest.mark.parametrize(
    ("run", "job", "more", "action"),
    [
        (a_run(**OLD), None, MISSING, Start),
        (a_run(**OLD), None, MISSING | {"slots": 0}, None),
        (a_run(since=NOW - TIMINGS.orphaned_after + 1), None, MISSING, None),
        (a_run(**OLD), None, {"missing": {"r1": NOW}}, Start),
        (a_run(**OLD, pid="ns:red-fox-1"), None, MISSING, ConfirmMissing),
        (a_run(), a_job(), {}, None),
        (a_run(), a_job(since=NOW - TIMINGS.orphaned_after), {}, FinishSetup),
        (a_run(pid="ns:red-fox-1"), a_job(), {}, None),
        (a_run("RUNNING"), a_job(Phase.RUNNING, since=LONG_AGO), {}, FinishSetup),
        (a_run("RUNNING", attempt=""), a_job(Phase.RUNNING, since=LONG_AGO), {}, ResolveClaim),
        (a_run("RUNNING", attempt="", pid="x"), a_job(Phase.RUNNING, since=LONG_AGO), {}, None),
        (a_run("RUNNING", pid="x"), a_job(Phase.RUNNING, since=LONG_AGO), {}, None),
        (a_run(pid="x"), a_job(limits=Limits(60), cause=PULL, since=NOW - 59), {}, None),
        (a_run(pid="x"), a_job(limits=Limits(60), cause=PULL, since=NOW - 60), {}, DeleteJob),
        (a_run(pid="x"), a_job(limits=Limits(60), since=LONG_AGO), {}, None),
        (
            a_run(pid="x"),
            a_job(limits=Limits(60, start_timeout_explicit=True), since=LONG_AGO),
            {},
            DeleteJob,
        ),
        (a_run(pid="x"), a_job(Phase.FAILED), {}, ReportFinalState),
        (a_run("RUNNING"), a_job(Phase.RUNNING), {}, None),
        (a_run("RUNNING"), a_job(Phase.FAILED), {}, ReportFinalState),
        (a_run("RUNNING"), a_job(Phase.SUCCEEDED), {}, None),
        (
            a_run("RUNNING"),
            a_job(Phase.SUCCEEDED, since=NOW - TIMINGS.report_grace),
            {},
            ReportFinalState,
        ),
        (
            a_run("PENDING"),
            a_job(Phase.SUCCEEDED, since=NOW - TIMINGS.report_grace),
            {},
            ReportFinalState,
        ),
        (a_run("RUNNING"), None, MISSING, ConfirmMissing),
        (a_run("RUNNING"), None, {}, None),
        (a_run("RUNNING"), a_job(Phase.RUNNING, limits=Limits(run_timeout=1)), {}, DeleteJob),
        (a_run("RUNNING", attempt=""), None, {}, ResolveClaim),
        (a_run("RUNNING", attempt=""), a_job(Phase.RUNNING), {}, None),
        (a_run("PENDING", attempt=""), a_job(), {}, ResolveClaim),
        (a_run("CANCELLING", attempt=""), a_job(), {}, ResolveClaim),
        (a_run("RUNNING", attempt="a2"), a_job(Phase.FAILED), {}, None),
        (a_run("RUNNING", attempt="", foreign=True), None, MISSING, None),
        (a_run("PENDING", attempt="", foreign=True), None, MISSING, None),
        (a_run("CANCELLING"), a_job(), {}, DeleteJob),
        (a_run("CANCELLING"), a_job(Phase.RUNNING), {}, None),
        (a_run("CANCELLING"), a_job(Phase.RUNNING, limits=IGNORES_CANCELLATION), {}, DeleteJob),
        (a_run("CANCELLING", **OLD), a_job(Phase.RUNNING), {}, DeleteJob),
        (a_run("CANCELLING"), a_job(Phase.FAILED), {}, ReportFinalState),
        (a_run("CANCELLING"), None, {}, CleanUpStart),
        (a_run("CANCELLING", pid="x"), None, {}, ReportFinalState),
        (a_run("CANCELLING"), a_job(deleting=True), {}, ReportFinalState),
        (a_run("CANCELLING"), a_job(Phase.RUNNING, deleting=True), {}, None),
        (a_run("CANCELLED"), a_job(), {}, DeleteJob),
        (a_run("CANCELLED"), a_job(Phase.RUNNING), {}, None),
        (a_run("CANCELLED", **OLD), a_job(Phase.RUNNING), {}, DeleteJob),
        (a_run("CRASHED"), a_job(), {}, DeleteJob),
        (a_run("CRASHED"), a_job(Phase.WAITING, started=True), {}, None),
        (a_run("COMPLETED"), a_job(Phase.RUNNING), {}, None),
        (a_run("SCHEDULED", attempt=""), a_job(), {}, DeleteJob),
        (a_run("SCHEDULED", attempt=""), a_job(Phase.RUNNING), {}, None),
        (a_run("SCHEDULED", attempt=""), a_job(Phase.FAILED), {}, None),
        (a_run("PAUSED"), a_job(Phase.RUNNING), {}, None),
        (a_run("PAUSED"), None, MISSING, None),
        *(
            (a_run(state, in_process=True, **more), job, missing, action)
            for state in ("SCHEDULED", "PAUSED")
            for more, job, missing, action in (
                ({}, a_job(Phase.RUNNING), {}, None),
                ({}, a_job(started=True), {}, None),
                ({}, a_job(Phase.FAILED), {}, ReportFinalState),
                ({}, a_job(Phase.SUCCEEDED, since=LONG_AGO), {}, ReportFinalState),
                ({}, None, {}, None),
                ({}, None, MISSING, ConfirmMissing),
                ({"attempt": ""}, None, {}, ResolveClaim),
                ({"attempt": "", "foreign": True}, None, MISSING, None),
            )
        ),
        (a_run("PENDING", attempt="a2", pid="x"), a_job(), {}, DeleteJob),
        (a_run("PENDING", attempt="", foreign=True), a_job(), {}, DeleteJob),
        (a_run("RUNNING", attempt="", foreign=True), a_job(), {}, DeleteJob),
        (a_run("RUNNING", attempt="", foreign=True), a_job(Phase.RUNNING), {}, None),
        (None, a_job(), {"deleted": frozenset({"r1"})}, DeleteJob),
        (None, a_job(Phase.RUNNING), {"deleted": frozenset({"r1"})}, None),
        (None, a_job(), {}, None),
        (
            a_run("RUNNING"),
            a_job(Phase.RUNNING, limits=Limits(run_timeout=1), deleting=True),
            {},
            None,
        ),
    ],
)
def test_leader_decides_by_run_and_job(
    run: Run | None, job: Job | None, more: dict[str, Any], action: type | None
) -> None:
    done = [type(each) for each in decide(snapshot(run, job, **more))]
    assert done == ([action] if action else [])


@pytest.mark.parametrize("more", [{"is_leader": False}, {"complete": False}])
@pytest.mark.parametrize("type_", ["PENDING", "RUNNING", "CANCELLING", "CANCELLED", "CRASHED"])
@pytest.mark.parametrize("phase", [None, *Phase])
def test_only_a_synced_leader_acts_on_existing_runs_and_jobs(
    more: dict[str, Any], type_: str, phase: Phase | None
) -> None:
    job = a_job(phase, since=LONG_AGO) if phase else None
    assert decide(snapshot(a_run(type_, **OLD), job, **MISSING, **more)) == []


@pytest.mark.parametrize("type_", ["PENDING", "RUNNING", "CANCELLING", "SCHEDULED", "CANCELLED"])
@pytest.mark.parametrize("phase", [None, *Phase])
def test_leaves_a_run_with_an_action_in_flight_alone(type_: str, phase: Phase | None) -> None:
    job = a_job(phase, since=LONG_AGO) if phase else None
    in_flight = frozenset({"r1"})
    assert (
        decide(
            snapshot(
                a_run(type_, **OLD),
                job,
                **MISSING,
                in_flight=in_flight,
                own_claims={"a1": "r1"},
            )
        )
        == []
    )


def test_reports_the_final_state_once_the_deleted_job_is_gone() -> None:
    final_state = Proposal("CRASHED", "Crashed", "The image is not there.")
    run = a_run("PENDING", pid="x")
    there = snapshot(run, a_job(deleting=True), final_states={"a1": final_state})
    gone = snapshot(run, final_states={"a1": final_state}, own_claims={"a1": "r1"})
    assert (decide(there), decide(gone)) == ([], [ReportFinalState(run, final_state)])


def test_a_run_that_is_cancelled_while_its_job_is_deleted_becomes_cancelled() -> None:
    crashed, run = Proposal("CRASHED", "Crashed", "The image is not there."), a_run("CANCELLING")
    gone = snapshot(run, final_states={"a1": crashed})
    assert decide(gone) == [ReportFinalState(run, CANCELLED)]


def test_deletes_the_job_of_a_cancelling_run_first() -> None:
    run, job = a_run("CANCELLING"), a_job()
    assert decide(snapshot(run, job)) == [DeleteJob(job, run, CANCELLED)]


@pytest.mark.parametrize(
    ("slots", "unstarted_claims", "claimed"), [(3, 0, 3), (3, 2, 1), (2, 2, 0), (None, 9, 3)]
)
def test_unstarted_claims_of_others_take_slots_before_new_claims(
    slots: int | None, unstarted_claims: int, claimed: int
) -> None:
    due = [a_run("SCHEDULED", id=name, attempt="") for name in "cab"]
    assert (
        len(decide(snapshot(None, due=due, slots=slots, unstarted_claims=unstarted_claims)))
        == claimed
    )


@pytest.mark.parametrize(
    ("type_", "changes", "end"),
    [
        ("RUNNING", {}, "CRASHED"),
        ("PENDING", {}, "CRASHED"),
        ("CANCELLING", {}, "CANCELLED"),
        ("COMPLETED", {}, None),
        ("RUNNING", {"claim_owner": "another"}, None),
        ("RUNNING", {"foreign": False}, None),
    ],
)
def test_ends_runs_of_owners_that_are_gone(
    type_: str, changes: dict[str, Any], end: str | None
) -> None:
    run = a_run(type_, attempt="", foreign=True, claim_owner="gone")
    gone = frozenset({"gone"})
    actions = decide(snapshot(replace(run, **changes), gone_owners=gone))
    ends = [each.proposal.type for each in actions if isinstance(each, ReportFinalState)]
    assert ends == ([end] if end else [])


BETWEEN_TRIES: dict[str, Any] = {"started": True, "restarts": True}


@pytest.mark.parametrize(
    ("run", "action"),
    [
        (a_run("RUNNING", pid="x"), None),
        (a_run("COMPLETED", attempt=""), DeleteJob),
        (a_run("CRASHED", attempt=""), DeleteJob),
        (a_run("CANCELLED", attempt="", since=NOW), DeleteJob),
        (a_run("CANCELLING", since=NOW), DeleteJob),
        (a_run("RUNNING", attempt="a2", pid="x"), DeleteJob),
        (a_run("RUNNING", attempt="", foreign=True), DeleteJob),
        (a_run("SCHEDULED", attempt=""), None),
    ],
)
def test_next_try_of_a_job_does_not_start_a_run_that_it_is_not_for(
    run: Run, action: type | None
) -> None:
    job = a_job(**BETWEEN_TRIES)
    assert [type(each) for each in decide(snapshot(run, job))] == ([action] if action else [])
