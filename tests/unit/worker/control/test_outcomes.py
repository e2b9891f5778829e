from __future__ import annotations

from dataclasses import replace

import pytest

from deployctl.core import redact
from deployctl.jobs.model import Limits
from deployctl.worker.control.outcomes import not_started, outcome, vanished
from deployctl.worker.model import Cause, Job, Phase, Run
from deployctl.worker.timings import Timings

NOW = 1_000.0
RUN = Run("run", "fast-fox", "state", "RUNNING", "Running", 900.0, "d", "f", attempt="a1")
JOB = Job("run", "a1", "hello", "flows", "flows:hello", "w", Phase.RUNNING, NOW)
OOM = Cause("OOMKilled", "The job was killed because of its memory", "Raise `memory_limit`.")
PULL = Cause("ImagePullError", "The image 'x' cannot be pulled", stuck=True)
FULL = Cause("Unschedulable", "No node can take the pod")
ENDED = replace(JOB, phase=Phase.FAILED, cause=OOM)


def waits(cause: Cause | None, seconds: float, *, started: bool = False, **limits: object) -> Job:
    given = Limits(**limits)  # type: ignore[arg-type]
    since = NOW - seconds
    return replace(
        JOB, phase=Phase.WAITING, since=since, cause=cause, limits=given, started=started
    )


CASES = {
    "it runs": (JOB, None),
    "it failed": (
        ENDED,
        "The job failed: the job was killed because of its memory. Raise `memory_limit`.",
    ),
    "it failed without a known cause": (replace(ENDED, cause=None), "The job failed."),
    "its last pod may still report": (replace(ENDED, since=NOW + 1), None),
    "it has just succeeded": (replace(JOB, phase=Phase.SUCCEEDED), None),
    "it succeeded without reporting": (
        replace(JOB, phase=Phase.SUCCEEDED, since=NOW - Timings().report_grace),
        "The job exited without reporting how the run ended",
    ),
    "it is stuck": (
        waits(PULL, 60, start_timeout=60),
        "The job did not start within 60 seconds: the image 'x' cannot be pulled.",
    ),
    "it has not been stuck for long enough": (waits(PULL, 59, start_timeout=60), None),
    "it is stuck without a limit": (waits(PULL, 9999), None),
    "it waits for a node": (waits(FULL, 9999, start_timeout=60), None),
    "an explicit limit covers waiting for a node": (
        waits(FULL, 1, start_timeout=1, start_timeout_explicit=True),
        "The job did not start within 1 second: no node can take the pod.",
    ),
    "an explicit limit covers any wait": (
        waits(None, 61, start_timeout=60, start_timeout_explicit=True),
        "The job did not start within 60 seconds.",
    ),
    "it has started before": (
        waits(FULL, 61, started=True, start_timeout=60, start_timeout_explicit=True),
        None,
    ),
    "its next pod is stuck": (
        waits(PULL, 61, started=True, start_timeout=60),
        "The job did not start within 60 seconds",
    ),
    "it exceeds its run timeout": (
        replace(JOB, since=NOW - 3600, limits=Limits(run_timeout=3600)),
        "The job ran longer than 3600 seconds and was stopped.",
    ),
    "it is within its run timeout": (
        replace(JOB, since=NOW - 3599, limits=Limits(run_timeout=3600)),
        None,
    ),
}


@pytest.mark.parametrize(("job", "message"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_outcome_of_a_job(job: Job, message: str | None, state: str) -> None:
    found = outcome(job, replace(RUN, type=state), NOW)
    assert (found and found.message[: len(message or "")]) == message


@pytest.mark.parametrize(
    "name",
    ["it is stuck", "an explicit limit covers waiting for a node", "it exceeds its run timeout"],
)
def test_a_job_that_could_continue_is_deleted_first(name: str) -> None:
    found = outcome(CASES[name][0], RUN, NOW)
    assert found is not None
    assert found.delete_job


def test_a_job_that_is_over_is_not_deleted() -> None:
    found = outcome(ENDED, RUN, NOW)
    assert found is not None
    assert not found.delete_job


@pytest.mark.parametrize(
    ("state", "text"), [("SCHEDULED", "The run was waiting for a retry"), ("PAUSED", "paused")]
)
@pytest.mark.parametrize("ended", [ENDED, CASES["it succeeded without reporting"][0], None])
def test_names_the_step_that_only_the_lost_process_could_take(
    ended: Job | None, state: str, text: str
) -> None:
    run = replace(RUN, type=state, in_process=True)
    found = outcome(ended, run, NOW) if ended else vanished(run)
    assert found is not None
    assert text in found.message


@pytest.mark.parametrize(
    "run",
    [
        *(
            replace(RUN, type=state)
            for state in ("SCHEDULED", "PAUSED", "COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        ),
        replace(RUN, type="CANCELLING"),
        replace(RUN, type="PENDING", attempt="a2"),
    ],
    ids=lambda run: f"{run.type} {run.attempt}",
)
def test_runs_that_the_end_of_an_older_job_does_not_affect(run: Run) -> None:
    assert outcome(ENDED, run, NOW) is None


def test_redacts_secrets_in_causes() -> None:
    redact.register_secrets(["hunter22"])
    found = not_started(Cause("Refused", "The webhook says hunter22"))
    assert found.message == f"The job could not be created: the webhook says {redact.MASK}."
