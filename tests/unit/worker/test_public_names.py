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
from deployctl.worker.health import metric_names
from deployctl.worker.health.exporter import families
from deployctl.worker.health.health_state import Fault, Loop
from deployctl.worker.health.metric_names import (
    RUN_EVENT_LABELS,
    Label,
    MetricName,
    RequestErrorKind,
    Target,
)
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
    pool.released
    pool.skipped
    pool.template_updated
    report.failed
    run.cancelled
    run.check_failed
    run.claim_failed
    run.claim_rejected
    run.claimed
    run.cleanup_failed
    run.completed
    run.crashed
    run.delete_failed
    run.failed
    run.handed_back
    run.report_failed
    run.resolve_failed
    run.setup_failed
    run.start_failed
    run.submitted
    runs.waiting
    secrets.create_forbidden
    secrets.patch_forbidden
    watch.forbidden
    watch.narrowed
    worker.failed
    worker.internal_error
    worker.start_failed
    worker.started
    worker.stopped
    worker.stopping
"""
RUN_EVENTS = """
    cancelled check_failed claim_failed claim_rejected claimed cleanup_failed completed crashed
    delete_failed failed handed_back report_failed resolve_failed setup_failed start_failed
    submitted
"""
ERROR_KINDS = """
    api_conflict api_error api_not_found api_rejected api_response_lost api_server_error
    api_unauthorized api_unreachable internal invalid_job_spec other runtime_unavailable
    start_failed
"""
METRICS = {
    "deployctl_worker_claim_delay_seconds": ("pool",),
    "deployctl_worker_claims": ("pool",),
    "deployctl_worker_due_runs": ("pool",),
    "deployctl_worker_errors": ("pool", "kind"),
    "deployctl_worker_fault": ("pool", "name"),
    "deployctl_worker_internal_errors": (),
    "deployctl_worker_job_creation_delay_seconds": ("pool",),
    "deployctl_worker_job_start_delay_seconds": ("pool",),
    "deployctl_worker_jobs": ("pool", "phase"),
    "deployctl_worker_leader": ("pool",),
    "deployctl_worker_loop_age_seconds": ("pool", "loop"),
    "deployctl_worker_queue": ("pool",),
    "deployctl_worker_ready": ("pool",),
    "deployctl_worker_request_errors": ("target", "kind"),
    "deployctl_worker_runs": ("pool", "event", "cause"),
    "deployctl_worker_runs_waiting_for_slot": ("pool",),
    "deployctl_worker_up": ("pool",),
    "deployctl_worker_watch_age_seconds": ("pool", "location"),
}
BUCKETS = {
    "deployctl_worker_claim_delay_seconds": "0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 300",
    "deployctl_worker_job_creation_delay_seconds": "0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 300",
    "deployctl_worker_job_start_delay_seconds": "0.5 1 2.5 5 10 30 60 120 300 600 1800",
}


@pytest.mark.parametrize(
    ("enum", "names"),
    [
        (EventName, EVENTS),
        (ErrorKind, ERROR_KINDS),
        (Fault, "loops pool queue watch"),
        (Level, "debug error info warning"),
        (Loop, "heartbeat lease poll pools reconcile report start sync watch"),
        (
            OutcomeCode,
            "InvalidJobSpec NotFound NotReported RunTimeout StartTimeout Unknown Vanished "
            "WorkerGone",
        ),
        (Phase, "failed running succeeded waiting"),
        (RequestErrorKind, "forbidden overloaded rejected server_error unauthorized unreachable"),
        (Target, "api cluster"),
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
    found = {each.name: tuple(each._labelnames) for each in families({}, {}, 0.0)}  # type: ignore[attr-defined]
    assert found == METRICS
    assert sorted(MetricName) == sorted(METRICS)
    assert {label for labels in METRICS.values() for label in labels} == set(Label)


def test_buckets_of_histograms() -> None:
    assert {
        name: " ".join(f"{each:g}" for each in bounds)
        for name, bounds in metric_names.BUCKETS.items()
    } == BUCKETS


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
