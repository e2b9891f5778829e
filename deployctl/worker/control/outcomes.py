"""What the end of a job, or a wait without end, means for its run, and what its owner reads of it.

Pure. A run whose job was lost is CRASHED: with Prefect a flow's own failure is FAILED and is
reported by the flow's process, which then exits with 0. Whether the run still is what it was when
this was decided is looked at by whoever reports it.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployctl.core.redact import redact
from deployctl.worker.model import Cause, Job, Phase, Run

SILENT_AFTER = 10.0
"""Seconds from a job's good end to the conclusion that it has not reported: what it said last may
be known to the server and not to us yet."""

VANISHED = (
    "The job of this run is gone, and nobody knows how it ended. It was deleted, or its "
    "finished_job_ttl was over before a worker saw it."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that its job will not carry to an end."""

    code: str
    """The code of the cause, for metrics."""
    message: str
    """For the owner: sentences."""
    remove: bool = False
    """The job could still go on, and has to be gone before this is said."""


def outcome(job: Job, run: Run, now: float) -> Outcome | None:
    """What a job has come to mean for its run; None while that is nothing.

    `now` is in seconds of the epoch, as the times of the job are. A run that has ended, waits for
    its next attempt, is paused or has been claimed again is not touched.
    """
    if run.type not in ("PENDING", "RUNNING") or (run.attempt and run.attempt != job.attempt):
        return None
    age = now - job.since
    if job.phase is Phase.FAILED and age >= 0:
        return _told("The job failed", job.cause)
    if job.phase is Phase.SUCCEEDED and age >= SILENT_AFTER:
        return _SILENT
    limits = job.limits
    if job.phase is Phase.RUNNING and limits.run_timeout is not None and age >= limits.run_timeout:
        return _overtime(limits.run_timeout)
    if job.phase is Phase.WAITING and limits.start_timeout is not None:
        stuck = job.cause is not None and job.cause.stuck
        bound = stuck or (limits.start_timeout_explicit and not job.started)
        if bound and age >= limits.start_timeout:
            text = f"The job did not start within {_seconds(limits.start_timeout)}"
            return _told(text, job.cause, code="StartTimeout", remove=True)
    return None


def not_started(cause: Cause) -> Outcome:
    """The outcome of a run whose job could not be created."""
    return _told("The job could not be created", cause)


_SILENT = Outcome(
    "Silent",
    "The job exited without reporting how the run ended, although its exit code says that all went "
    "well. Does its command run the flow (prefect flow-run execute), and does it reach the API?",
)


def _overtime(seconds: float) -> Outcome:
    text = f"The job ran longer than {_seconds(seconds)} and was stopped."
    help_ = "Raise `job_watch_timeout_seconds`, or make the flow quicker."
    return Outcome("RunTimeout", f"{text} {help_}", remove=True)


def _told(what: str, cause: Cause | None, *, code: str = "", remove: bool = False) -> Outcome:
    if cause is None:
        return Outcome(code or "Unknown", f"{what}.", remove)
    told = cause.message[:1].lower() + cause.message[1:]
    text = f"{what}: {told}. {cause.help}".strip()
    return Outcome(code or cause.code, redact(text), remove)


def _seconds(seconds: float) -> str:
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"
