"""Names, labels and buckets of the worker's metrics.

They are public: dashboards and alert rules name them. They are written out here, listed in
docs/worker.md and pinned by a test (test_public_names.py). Names follow Prometheus' conventions:
base units, and `_total` for counters, which the text format appends.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from deployctl.worker.event_log import EventName


class MetricName(StrEnum):
    """Every metric of a worker, beside those of its process."""

    RUNS = "deployctl_worker_runs"
    ERRORS = "deployctl_worker_errors"
    INTERNAL_ERRORS = "deployctl_worker_internal_errors"
    REQUEST_ERRORS = "deployctl_worker_request_errors"
    CLAIM_DELAY = "deployctl_worker_claim_delay_seconds"
    JOB_CREATION_DELAY = "deployctl_worker_job_creation_delay_seconds"
    JOB_START_DELAY = "deployctl_worker_job_start_delay_seconds"
    JOBS = "deployctl_worker_jobs"
    DUE_RUNS = "deployctl_worker_due_runs"
    RUNS_WAITING_FOR_SLOT = "deployctl_worker_runs_waiting_for_slot"
    CLAIMS = "deployctl_worker_claims"
    QUEUE = "deployctl_worker_queue"
    LEADER = "deployctl_worker_leader"
    UP = "deployctl_worker_up"
    READY = "deployctl_worker_ready"
    FAULT = "deployctl_worker_fault"
    LOOP_AGE = "deployctl_worker_loop_age_seconds"
    WATCH_AGE = "deployctl_worker_watch_age_seconds"


class Label(StrEnum):
    """Every label of these metrics."""

    POOL = "pool"
    """Work pool; "" for what concerns no single pool of a worker with several."""
    EVENT = "event"
    CAUSE = "cause"
    KIND = "kind"
    TARGET = "target"
    PHASE = "phase"
    NAME = "name"
    LOOP = "loop"
    LOCATION = "location"


class Target(StrEnum):
    """Values of the label `target`: what a request was sent to."""

    API = "api"
    CLUSTER = "cluster"


class RequestErrorKind(StrEnum):
    """Values of the label `kind` of REQUEST_ERRORS."""

    UNREACHABLE = "unreachable"
    """No response, or a broken one."""
    UNAUTHORIZED = "unauthorized"
    """401."""
    FORBIDDEN = "forbidden"
    """403."""
    OVERLOADED = "overloaded"
    """429."""
    REJECTED = "rejected"
    """Any other 4xx, except those that are part of normal operation: 404, 409 and 410."""
    SERVER_ERROR = "server_error"
    """5xx."""


_KINDS = {
    401: RequestErrorKind.UNAUTHORIZED,
    403: RequestErrorKind.FORBIDDEN,
    429: RequestErrorKind.OVERLOADED,
}
_NORMAL = (404, 409, 410)


def request_error_kind(status: int | None) -> RequestErrorKind | None:
    """Returns the kind of a response's status, None for one that is no error.

    `status` None: there was no response.
    """
    if status is None:
        return RequestErrorKind.UNREACHABLE
    if status < 400 or status in _NORMAL:
        return None
    return _KINDS.get(
        status, RequestErrorKind.SERVER_ERROR if status >= 500 else RequestErrorKind.REJECTED
    )


RUN_EVENT_LABELS: Mapping[EventName, str] = {
    EventName.RUN_CLAIMED: "claimed",
    EventName.RUN_CLAIM_REJECTED: "claim_rejected",
    EventName.RUN_HANDED_BACK: "handed_back",
    EventName.RUN_SUBMITTED: "submitted",
    EventName.RUN_COMPLETED: "completed",
    EventName.RUN_FAILED: "failed",
    EventName.RUN_CRASHED: "crashed",
    EventName.RUN_CANCELLED: "cancelled",
    EventName.RUN_CLAIM_FAILED: "claim_failed",
    EventName.RUN_START_FAILED: "start_failed",
    EventName.RUN_RESOLVE_FAILED: "resolve_failed",
    EventName.RUN_SETUP_FAILED: "setup_failed",
    EventName.RUN_DELETE_FAILED: "delete_failed",
    EventName.RUN_CHECK_FAILED: "check_failed",
    EventName.RUN_CLEANUP_FAILED: "cleanup_failed",
    EventName.RUN_REPORT_FAILED: "report_failed",
}
"""Values of the label `event` of RUNS."""

DELAYS: Mapping[EventName, MetricName] = {
    EventName.RUN_CLAIMED: MetricName.CLAIM_DELAY,
    EventName.RUN_SUBMITTED: MetricName.JOB_CREATION_DELAY,
    EventName.JOB_RUNNING: MetricName.JOB_START_DELAY,
}
"""Events whose field `delay`, in seconds, goes into a histogram."""

_FAST = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_SLOW = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)

BUCKETS: Mapping[MetricName, tuple[float, ...]] = {
    MetricName.CLAIM_DELAY: _FAST,
    MetricName.JOB_CREATION_DELAY: _FAST,
    MetricName.JOB_START_DELAY: _SLOW,
}
"""Upper bounds in seconds. A Job's start includes scheduling and the pull of its image."""
