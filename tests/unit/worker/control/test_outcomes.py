from __future__ import annotations

from dataclasses import replace

import pytest

from deployctl.core import redact
from deployctl.jobs.model import Limits
from deployctl.worker.control.outcomes import SILENT_AFTER, not_started, outcome
from deployctl.worker.model import Cause, Job, Phase, Run

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
    "it failed and nobody knows why": (replace(ENDED, cause=None), "The job failed."),
    "its last pod may still report": (replace(ENDED, since=NOW + 1), None),
    "it is done, just now": (replace(JOB, phase=Phase.SUCCEEDED), None),
    "it is done, and said nothing": (
        replace(JOB, phase=Phase.SUCCEEDED, since=NOW - SILENT_AFTER),
        "The job exited without reporting how the run ended",
    ),
    "it is stuck": (
        waits(PULL, 60, start_timeout=60),
        "The job did not start within 60 seconds: the image 'x' cannot be pulled.",
    ),
    "it is stuck, but not for long": (waits(PULL, 59, start_timeout=60), None),
    "it is stuck without a limit": (waits(PULL, 9999), None),
    "it waits for room": (waits(FULL, 9999, start_timeout=60), None),
    "it must not wait for room": (
        waits(FULL, 1, start_timeout=1, start_timeout_explicit=True),
        "The job did not start within 1 second: no node can take the pod.",
    ),
    "it must not wait, for whatever": (
        waits(None, 61, start_timeout=60, start_timeout_explicit=True),
        "The job did not start within 60 seconds.",
    ),
    "it has started before": (
        waits(FULL, 61, started=True, start_timeout=60, start_timeout_explicit=True),
        None,
    ),
    "its next try is stuck": (
        waits(PULL, 61, started=True, start_timeout=60),
        "The job did not start within 60 seconds",
    ),
    "it runs for too long": (
        replace(JOB, since=NOW - 3600, limits=Limits(run_timeout=3600)),
        "The job ran longer than 3600 seconds and was stopped.",
    ),
    "it may run on": (replace(JOB, since=NOW - 3599, limits=Limits(run_timeout=3600)), None),
}


@pytest.mark.parametrize(("job", "message"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_what_a_job_means_for_its_run(job: Job, message: str | None, state: str) -> None:
    found = outcome(job, replace(RUN, type=state), NOW)
    assert (found and found.message[: len(message or "")]) == message


@pytest.mark.parametrize(
    "name", ["it is stuck", "it must not wait for room", "it runs for too long"]
)
def test_a_job_that_could_go_on_is_removed_before_its_run_is_given_up(name: str) -> None:
    found = outcome(CASES[name][0], RUN, NOW)
    assert found is not None
    assert found.remove


def test_a_job_that_is_over_stays_for_whoever_wants_to_look_at_it() -> None:
    found = outcome(ENDED, RUN, NOW)
    assert found is not None
    assert not found.remove


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
def test_runs_that_the_end_of_this_job_does_not_concern(run: Run) -> None:
    assert outcome(ENDED, run, NOW) is None


def test_secrets_in_the_words_of_a_cluster_are_not_passed_on() -> None:
    redact.register_secrets(["hunter22"])
    found = not_started(Cause("Refused", "The webhook says hunter22"))
    assert found.message == f"The job could not be created: the webhook says {redact.MASK}."
