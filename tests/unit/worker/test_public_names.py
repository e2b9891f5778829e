"""Names that users of a worker's log and metrics rely on: a rename in the code must not change one.

A new name is added here and in docs/worker.md; an existing one is never changed.
"""

from __future__ import annotations

import ast
from enum import StrEnum
from pathlib import Path

import pytest

import deployctl
from deployctl.core import errors
from deployctl.core.errors import DeployctlError
from deployctl.worker.control.outcomes import OutcomeCode
from deployctl.worker.error_kinds import ErrorKind, error_kind
from deployctl.worker.event_log import EventName, Level
from deployctl.worker.health.health_state import Fault, HealthState, Loop
from deployctl.worker.health.metrics import RUN_EVENT_LABELS, Counts, Sample, families
from deployctl.worker.model import Cause, Phase, RuntimeUnavailable, StartFailed

EVENTS = """
    cluster.uid_unavailable
    events.forbidden
    job.deleted
    job.failed
    job.output
    job.running
    job.start_delayed
    job.succeeded
    job.waiting
    lease.acquired
    lease.forbidden
    lease.lost
    logs.dropped
    loop.failed
    pool.not_ready
    pool.ready
    pool.template_updated
    report.failed
    run.cancelled
    run.check_failed
    run.claim_failed
    run.claim_rejected
    run.claimed
    run.cleanup_failed
    run.crashed
    run.delete_failed
    run.handed_back
    run.report_failed
    run.resolve_failed
    run.setup_failed
    run.start_failed
    run.submitted
    secrets.create_forbidden
    secrets.patch_forbidden
    watch.narrowed
    worker.failed
    worker.internal_error
    worker.start_failed
    worker.started
    worker.stopped
    worker.stopping
"""
RUN_EVENTS = """
    cancelled check_failed claim_failed claim_rejected claimed cleanup_failed crashed delete_failed
    handed_back report_failed resolve_failed setup_failed start_failed submitted
"""
ERROR_KINDS = """
    api_conflict api_error api_not_found api_rejected api_response_lost api_server_error
    api_unauthorized api_unreachable internal invalid_job_spec other runtime_unavailable
    start_failed
"""
METRICS = {
    "deployctl_worker_claims": (),
    "deployctl_worker_due_runs": (),
    "deployctl_worker_errors": ("kind",),
    "deployctl_worker_fault": ("name",),
    "deployctl_worker_internal_errors": (),
    "deployctl_worker_jobs": ("phase",),
    "deployctl_worker_leader": (),
    "deployctl_worker_loop_age_seconds": ("loop",),
    "deployctl_worker_queue": (),
    "deployctl_worker_ready": (),
    "deployctl_worker_runs": ("event", "cause"),
    "deployctl_worker_up": (),
    "deployctl_worker_watch_age_seconds": ("location",),
}


@pytest.mark.parametrize(
    ("enum", "names"),
    [
        (EventName, EVENTS),
        (ErrorKind, ERROR_KINDS),
        (Fault, "loops pool queue watch"),
        (Level, "debug error info warning"),
        (Loop, "heartbeat lease poll reconcile report start sync watch"),
        (
            OutcomeCode,
            "InvalidJobSpec NotFound NotReported RunTimeout StartTimeout Unknown Vanished "
            "WorkerGone",
        ),
        (Phase, "failed running succeeded waiting"),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
def test_names_do_not_change(enum: type[StrEnum], names: str) -> None:
    assert sorted(member.value for member in enum) == names.split()


def test_events_of_runs_are_counted_under_these_labels() -> None:
    assert sorted(RUN_EVENT_LABELS.values()) == RUN_EVENTS.split()
    assert {event.value.partition(".")[0] for event in RUN_EVENT_LABELS} == {"run"}
    assert len(RUN_EVENT_LABELS) == sum(event.value.startswith("run.") for event in EventName)


def test_metrics_and_their_labels() -> None:
    found = families(Counts(), Sample(), HealthState({}, {}), 0.0, 0.0)
    assert {each.name: tuple(each._labelnames) for each in found} == METRICS  # type: ignore[attr-defined]


def test_event_names_are_words_with_dots_and_underscores() -> None:
    assert [
        name for name in EVENTS.split() if not name.replace(".", "").replace("_", "").isalpha()
    ] == []


def test_code_emits_events_of_the_enum_only() -> None:
    """mypy checks the type of the argument; this test finds text that avoids it."""
    texts = []
    for path in Path(deployctl.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "emit"):
                continue
            if len(node.args) > 1 and isinstance(node.args[1], (ast.Constant, ast.JoinedStr)):
                texts.append(f"{path}:{node.lineno}")
    assert texts == []


def test_every_error_has_a_kind() -> None:
    api_errors = [
        each("x")
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.ApiError)
    ]
    kinds = {type(error): error_kind(error) for error in api_errors}
    assert len(set(kinds.values())) == len(kinds)
    assert error_kind(RuntimeUnavailable("x")) is ErrorKind.RUNTIME_UNAVAILABLE
    assert error_kind(StartFailed(Cause("x", "x"))) is ErrorKind.START_FAILED
    assert error_kind(DeployctlError("x")) is ErrorKind.OTHER
    assert error_kind(ValueError("x")) is ErrorKind.INTERNAL
