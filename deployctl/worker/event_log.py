"""The structured event log of a worker: one entry per run and phase.

Code emits an `EventName` with fields; how an entry is shown (a line for a terminal or JSON) is up
to the implementation of `EventLog`. Event names are public, because users filter and alert on them:
they are written out here, listed in docs/worker.md and pinned by a test (test_public_names.py).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from deployctl.core.json_values import Json


class Level(StrEnum):
    """Severity of an entry."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class EventName(StrEnum):
    """Every event that a worker logs. Values are public and never change."""

    WORKER_STARTED = "worker.started"
    WORKER_START_FAILED = "worker.start_failed"
    """An attempt to start failed; the next one follows after a back-off."""
    WORKER_STOPPING = "worker.stopping"
    WORKER_STOPPED = "worker.stopped"
    WORKER_FAILED = "worker.failed"
    """The worker ends with an error."""
    WORKER_INTERNAL_ERROR = "worker.internal_error"
    """A defect of deployctl, with its traceback the first time."""

    LOOP_FAILED = "loop.failed"
    """A step of the loop in the field `loop` failed; it is repeated."""
    POOL_NOT_READY = "pool.not_ready"
    POOL_READY = "pool.ready"
    POOL_RELEASED = "pool.released"
    """A pool that a pattern matched is not served any more, because it is gone."""
    POOL_SKIPPED = "pool.skipped"
    """A pattern matches a pool that this worker cannot serve."""
    POOL_TEMPLATE_UPDATED = "pool.template_updated"

    RUN_CLAIMED = "run.claimed"
    RUN_CLAIM_REJECTED = "run.claim_rejected"
    RUNS_WAITING = "runs.waiting"
    """Runs wait for a concurrency slot of their deployments; a summary of rejected claims."""
    RUN_HANDED_BACK = "run.handed_back"
    """A claim hit a run that had ended; its final state is restored."""
    RUN_SUBMITTED = "run.submitted"
    """The run's Job exists."""
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CRASHED = "run.crashed"
    RUN_CANCELLED = "run.cancelled"

    RUN_CLAIM_FAILED = "run.claim_failed"
    RUN_START_FAILED = "run.start_failed"
    RUN_RESOLVE_FAILED = "run.resolve_failed"
    RUN_SETUP_FAILED = "run.setup_failed"
    RUN_DELETE_FAILED = "run.delete_failed"
    RUN_CHECK_FAILED = "run.check_failed"
    RUN_CLEANUP_FAILED = "run.cleanup_failed"
    RUN_REPORT_FAILED = "run.report_failed"

    JOB_WAITING = "job.waiting"
    JOB_RUNNING = "job.running"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_START_DELAYED = "job.start_delayed"
    """A waiting Job has a cause that keeps it from starting."""
    JOB_DELETED = "job.deleted"
    """The deletion of a Job was requested."""
    JOB_OUTPUT = "job.output"
    """A line that a Job printed; the field `job` names it."""

    LOGS_DROPPED = "logs.dropped"
    """Lines for logs of flow runs that never reached the server."""
    REPORT_FAILED = "report.failed"
    """The server did not take an event, label or log line about a run."""

    LEASE_ACQUIRED = "lease.acquired"
    LEASE_LOST = "lease.lost"
    LEASE_FORBIDDEN = "lease.forbidden"
    CLUSTER_UID_UNAVAILABLE = "cluster.uid_unavailable"
    WATCH_NARROWED = "watch.narrowed"
    """Single namespaces are watched instead of all."""
    WATCH_FORBIDDEN = "watch.forbidden"
    """The worker may not list or watch the jobs or pods of a namespace."""
    EVENTS_FORBIDDEN = "events.forbidden"
    SECRETS_CREATE_FORBIDDEN = "secrets.create_forbidden"
    SECRETS_PATCH_FORBIDDEN = "secrets.patch_forbidden"


class EventLog(Protocol):
    """A sink for events. May be called from any thread."""

    def emit(self, level: Level, event: EventName, message: str, **fields: Json) -> None:
        """Records an event. `message`: one sentence for people; `fields`: run, name, job, …"""
