"""Public kinds of errors: the field `error` of log entries and the label `kind` of a metric.

Written out instead of derived from exception classes: renaming a class must change no dashboard.
"""

from __future__ import annotations

import traceback
from enum import StrEnum

from deployctl.core.errors import (
    ApiError,
    Conflict,
    DeployctlError,
    LostResponse,
    NotFound,
    Rejected,
    ServerError,
    Unauthorized,
    Unreachable,
)
from deployctl.core.redact import redact
from deployctl.jobs.model import InvalidJobSpec
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.model import RuntimeUnavailable, StartFailed


class ErrorKind(StrEnum):
    """What failed. Values are public and never change."""

    API_UNREACHABLE = "api_unreachable"
    """No answer from the Prefect server."""
    API_RESPONSE_LOST = "api_response_lost"
    """A request was sent and its response never arrived."""
    API_UNAUTHORIZED = "api_unauthorized"
    """401 or 403."""
    API_NOT_FOUND = "api_not_found"
    """404."""
    API_CONFLICT = "api_conflict"
    """409."""
    API_REJECTED = "api_rejected"
    """422 and other 4xx."""
    API_SERVER_ERROR = "api_server_error"
    """5xx or 429 after all retries."""
    API_ERROR = "api_error"
    """Any other error of the API."""
    RUNTIME_UNAVAILABLE = "runtime_unavailable"
    """The cluster or container engine cannot be reached or is overloaded."""
    START_FAILED = "start_failed"
    INVALID_JOB_SPEC = "invalid_job_spec"
    OTHER = "other"
    """Any other expected error."""
    INTERNAL = "internal"
    """A defect of deployctl."""


_KINDS: tuple[tuple[type[Exception], ErrorKind], ...] = (
    (Unreachable, ErrorKind.API_UNREACHABLE),
    (LostResponse, ErrorKind.API_RESPONSE_LOST),
    (Unauthorized, ErrorKind.API_UNAUTHORIZED),
    (NotFound, ErrorKind.API_NOT_FOUND),
    (Conflict, ErrorKind.API_CONFLICT),
    (Rejected, ErrorKind.API_REJECTED),
    (ServerError, ErrorKind.API_SERVER_ERROR),
    (ApiError, ErrorKind.API_ERROR),
    (RuntimeUnavailable, ErrorKind.RUNTIME_UNAVAILABLE),
    (StartFailed, ErrorKind.START_FAILED),
    (InvalidJobSpec, ErrorKind.INVALID_JOB_SPEC),
    (DeployctlError, ErrorKind.OTHER),
)


def error_kind(error: Exception) -> ErrorKind:
    """Returns the public kind of an exception; INTERNAL unless it is a DeployctlError."""
    return next((kind for type_, kind in _KINDS if isinstance(error, type_)), ErrorKind.INTERNAL)


def log_internal_error(event_log: EventLog, error: Exception, where: str) -> None:
    """Logs a defect of deployctl with its redacted traceback.

    `where`: the part of the worker that failed. `MeteredEventLog` counts the entry and drops a
    traceback that was logged before, so a defect in a loop does not flood the log.
    """
    text = "".join(traceback.format_exception(error)).rstrip()
    event_log.emit(
        Level.ERROR,
        EventName.WORKER_INTERNAL_ERROR,
        f"internal error in {where}: {type(error).__name__}: {error}",
        error=ErrorKind.INTERNAL,
        traceback=redact(text),
    )
