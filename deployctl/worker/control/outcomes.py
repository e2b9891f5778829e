"""What the state of a Job means for its run. Pure.

A run whose Job was lost is CRASHED, as with Prefect: a failure of the flow itself is FAILED, is
reported by the flow's process, and that process exits with 0. Whether the run is still in the state
that was decided on is checked when the outcome is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from deployctl.api.states import PAUSED, PENDING, RUNNING, SCHEDULED
from deployctl.core.redact import redact
from deployctl.worker.model import Cause, Job, Phase, Run
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

_VANISHED = (
    "The job of this run is gone, and its outcome is unknown. It was deleted, or its "
    "finished_job_ttl expired before a worker saw it."
)
_NOT_DELETED = (
    "The job was deleted and has not ended within its grace period. Its node does not respond, or "
    "a finalizer keeps it"
)
_LOST_STEPS = {
    SCHEDULED: "The run was waiting for a retry, which only the process of that job could begin: "
    "the server offers it to no worker.",
    PAUSED: "The run was paused, and only the process of that job could resume it.",
    "Resuming": "The run was to be resumed, but the server offers a run that was retried in its "
    "process to no worker.",
}
"""Type or name of the run's state → what its process would have done next (`Run.in_process`)."""


class OutcomeCode(StrEnum):
    """Causes of crashes that a worker finds itself; a runtime's causes have codes of their own.

    Public: values of the metric label and log field `cause`.
    """

    INVALID_JOB_SPEC = "InvalidJobSpec"
    NOT_FOUND = "NotFound"
    """The deployment or flow of the run was deleted."""
    NOT_REPORTED = "NotReported"
    """The Job succeeded, but the flow never reported an end."""
    RUN_TIMEOUT = "RunTimeout"
    START_TIMEOUT = "StartTimeout"
    UNKNOWN = "Unknown"
    VANISHED = "Vanished"
    WORKER_GONE = "WorkerGone"
    """The worker is back elsewhere, where the Job is not."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why a run will not be finished by its Job."""

    code: str
    """An `OutcomeCode`, or the code of a runtime's `Cause`."""
    message: str
    """For the owner of the flow: complete sentences."""
    delete_job: bool = False
    """The Job could still continue, so it must be gone before this is reported."""


def outcome(job: Job, run: Run, now: float, timings: Timings = DEFAULT_TIMINGS) -> Outcome | None:
    """Returns what a Job means for its run; None if there is nothing to report.

    Runs that have ended, wait for their next attempt, are suspended, or have been claimed again are
    not affected.
    """
    if run.type not in (PENDING, RUNNING) and not run.in_process:
        return None
    if run.attempt and run.attempt != job.attempt:
        return None
    found = _of_job(job, now, timings)
    return found and _with_lost_step(found, run)


def not_deleted(job: Job, run: Run) -> Outcome:
    """Returns the outcome of a run whose Job was deleted and does not end."""
    code = job.cause.code if job.cause else OutcomeCode.VANISHED
    found = _from_cause(_NOT_DELETED, job.cause, code=code)
    return _with_lost_step(found, run)


def vanished(run: Run, unreadable: str = "") -> Outcome:
    """Returns the outcome of a run whose Job is gone.

    `unreadable`: why the location of the Job cannot be read.
    """
    text = f"The job of this run cannot be found: {unreadable}." if unreadable else _VANISHED
    return _with_lost_step(Outcome(OutcomeCode.VANISHED, redact(text)), run)


def _with_lost_step(found: Outcome, run: Run) -> Outcome:
    """Adds what the process of the Job would have done next, if nothing else can do it."""
    step = _LOST_STEPS.get(run.state_name) or _LOST_STEPS.get(run.type, "")
    text = f"{found.message} {step}".rstrip()
    return replace(found, message=text)


def _of_job(job: Job, now: float, timings: Timings) -> Outcome | None:
    age = now - job.since
    limits = job.limits
    if job.phase is Phase.FAILED and age >= 0:
        return _from_cause("The job failed", job.cause)
    if job.phase is Phase.SUCCEEDED and age >= timings.report_grace:
        return _NOT_REPORTED
    if job.phase is Phase.RUNNING and limits.run_timeout is not None and age >= limits.run_timeout:
        return _run_timeout(limits.run_timeout)
    if job.phase is Phase.WAITING and limits.start_timeout is not None:
        stuck = job.cause is not None and job.cause.stuck
        applies = stuck or (limits.start_timeout_explicit and not job.started)
        if applies and age >= limits.start_timeout:
            text = f"The job did not start within {_seconds(limits.start_timeout)}"
            return _from_cause(text, job.cause, code=OutcomeCode.START_TIMEOUT, delete_job=True)
    return None


def not_started(cause: Cause) -> Outcome:
    """Returns the outcome of a run whose Job could not be created."""
    return _from_cause("The job could not be created", cause)


_NOT_REPORTED = Outcome(
    OutcomeCode.NOT_REPORTED,
    "The job exited without reporting how the run ended, although its exit code is 0. Does its "
    "command run the flow (prefect flow-run execute), and can it reach the API?",
)


WORKER_GONE = Outcome(
    OutcomeCode.WORKER_GONE,
    "The worker that started this run is gone: another one of its name works elsewhere, and "
    "nothing has been heard of the first one. If several workers share the name on purpose, start "
    "them with --shared-name.",
)


def _run_timeout(seconds: float) -> Outcome:
    text = f"The job ran longer than {_seconds(seconds)} and was stopped."
    help_ = "Raise `job_watch_timeout_seconds`, or make the flow faster."
    return Outcome(OutcomeCode.RUN_TIMEOUT, f"{text} {help_}", delete_job=True)


def _from_cause(
    what: str, cause: Cause | None, *, code: str = "", delete_job: bool = False
) -> Outcome:
    if cause is None:
        return Outcome(code or OutcomeCode.UNKNOWN, f"{what}.", delete_job)
    reason = cause.message[:1].lower() + cause.message[1:]
    text = f"{what}: {reason}. {cause.help}".strip()
    return Outcome(code or cause.code, redact(text), delete_job)


def _seconds(seconds: float) -> str:
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"
