from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployctl.core.json_values import Json
from deployctl.jobs.model import Limits
from deployctl.worker.model import Job, Phase
from deployctl.worker.runtimes.kubernetes.status import combine, job_status, pod_status
from tests.unit.worker.runtimes.kubernetes.objects import (
    CREATED,
    LAST,
    LATER,
    STARTED,
    at,
    condition,
    ended,
    job,
    pod,
    running,
    unscheduled,
    waiting,
)


def known(given: Json, *pods: Json) -> Job:
    facts = [pod_status(each) for each in pods]
    return combine(job_status(given), facts, location="flows", pid="flows:hello-1a2b")


PULLING = pod("Pending", waiting("ContainerCreating"))
BACK_OFF = pod(
    "Pending",
    waiting("ImagePullBackOff", "not found"),
    status={"conditions": [condition("PodScheduled", time=LATER)]},
)
RUNS = pod("Running", running())
FAILS = pod("Failed", ended(1))
DONE = pod("Succeeded", ended(0, "Completed"))

PHASES = {
    "no pod yet": (job(), (), Phase.WAITING, CREATED, None),
    "pulling": (job(), (PULLING,), Phase.WAITING, CREATED, None),
    "stuck since it got a node": (job(), (BACK_OFF,), Phase.WAITING, LATER, "ImagePullError"),
    "no node": (
        job(),
        (unscheduled("0/1 nodes are available: 1 Insufficient cpu."),),
        Phase.WAITING,
        CREATED,
        "Unschedulable.InsufficientResources",
    ),
    "running": (job(), (RUNS,), Phase.RUNNING, STARTED, None),
    "failed, and the Job does not say so yet": (job(), (FAILS,), Phase.WAITING, LATER, "ExitCode"),
    "complete": (job([condition("Complete")]), (DONE,), Phase.SUCCEEDED, LATER, None),
    "success is certain": (
        job([condition("SuccessCriteriaMet")]),
        (DONE,),
        Phase.SUCCEEDED,
        LATER,
        None,
    ),
    "the pod succeeded, and the Job does not say so yet": (
        job(),
        (DONE,),
        Phase.SUCCEEDED,
        LATER,
        None,
    ),
    "failed": (
        job([condition("Failed", "BackoffLimitExceeded")]),
        (FAILS,),
        Phase.FAILED,
        LATER,
        "ExitCode",
    ),
    "failed, its pods are gone": (
        job([condition("Failed", "BackoffLimitExceeded")]),
        (),
        Phase.FAILED,
        LATER,
        "BackoffLimitExceeded",
    ),
    "past its deadline with tries left": (
        job([condition("Failed", "DeadlineExceeded")], spec={"backoffLimit": 3}),
        (),
        Phase.FAILED,
        LATER,
        "DeadlineExceeded",
    ),
    "ended by its failure policy with tries left": (
        job([condition("Failed", "PodFailurePolicy")], spec={"backoffLimit": 3}),
        (FAILS,),
        Phase.FAILED,
        LATER,
        "ExitCode",
    ),
    "more failures than tries, without a condition": (
        job(status={"failed": 1}),
        (),
        Phase.FAILED,
        CREATED,
        "BackoffLimitExceeded",
    ),
    "a failure with tries left": (
        job(status={"failed": 1}, spec={"backoffLimit": 1}),
        (FAILS,),
        Phase.WAITING,
        LATER,
        "ExitCode",
    ),
    "to fail when its pod has had its time": (
        job([condition("FailureTarget", "DeadlineExceeded")]),
        (pod("Running", running(), meta={"deletionTimestamp": LAST}),),
        Phase.FAILED,
        LAST,
        "DeadlineExceeded",
    ),
    "suspended": (job(spec={"suspend": True}), (), Phase.WAITING, CREATED, "Suspended"),
    "suspended later": (
        job([condition("Suspended")], spec={"suspend": True}),
        (),
        Phase.WAITING,
        LATER,
        "Suspended",
    ),
    "a condition that is not true": (
        job([condition("Failed") | {"status": "False"}]),
        (RUNS,),
        Phase.RUNNING,
        STARTED,
        None,
    ),
    "the flow failed and a sidecar keeps the pod": (
        job(),
        (pod("Running", running(name="proxy"), ended(1)),),
        Phase.FAILED,
        LATER,
        "ExitCode",
    ),
    "the flow failed, and its pod is about to say so": (
        job(),
        (pod("Running", ended(1)),),
        Phase.WAITING,
        LATER,
        "ExitCode",
    ),
    "a sidecar keeps the pod, with tries left": (
        job(spec={"backoffLimit": 2}),
        (pod("Running", running(name="proxy"), ended(1)),),
        Phase.WAITING,
        LATER,
        "ExitCode",
    ),
    "the flow is done and a sidecar keeps the pod": (
        job(),
        (pod("Running", running(name="proxy"), ended(0)),),
        Phase.SUCCEEDED,
        LATER,
        None,
    ),
    "between two tries of one pod": (
        job(spec={"backoffLimit": 2}),
        (pod("Running", ended(1), spec={"restartPolicy": "OnFailure"}),),
        Phase.WAITING,
        LATER,
        "ExitCode",
    ),
    "its node does not answer": (
        job(),
        (pod("Unknown", running()),),
        Phase.RUNNING,
        STARTED,
        "NodeLost",
    ),
}


@pytest.mark.parametrize(("of_job", "pods", "phase", "since", "code"), PHASES.values(), ids=PHASES)
def test_phase_of_job_and_pods(
    of_job: Json, pods: tuple[Json, ...], phase: Phase, since: str, code: str | None
) -> None:
    found = known(of_job, *pods)
    assert (found.phase, found.cause and found.cause.code) == (phase, code)
    assert found.since == at(since)


def test_job_is_rebuilt_from_labels_and_annotation() -> None:
    found = known(job(meta={"deletionTimestamp": LAST}))
    assert (found.run, found.attempt, found.worker, found.pid) == (
        "run",
        "attempt",
        "w1",
        "flows:hello-1a2b",
    )
    assert found.limits == Limits(
        60.0, start_timeout_explicit=True, ignores_cancellation=True, stream_output=True
    )
    assert found.deleting


@pytest.mark.parametrize(
    ("deleted", "of_pod", "deadline"),
    [
        (LATER, {"deletionTimestamp": LAST}, LAST),
        (LATER, None, LATER),
        (LATER, {}, None),
        (None, {"deletionTimestamp": LAST}, None),
    ],
)
def test_deletion_should_end_with_the_grace_period_of_the_last_pod(
    deleted: str | None, of_pod: dict[str, str] | None, deadline: str | None
) -> None:
    """A pod that is not deleted itself yet gets its whole grace period later."""
    pods = [] if of_pod is None else [pod("Running", running(), meta=of_pod)]
    found = known(job(meta={"deletionTimestamp": deleted} if deleted else {}), *pods)
    assert found.deletion_deadline == (at(deadline) if deadline else None)


def test_deletion_does_not_hang_when_its_pod_ends_after_its_grace_period() -> None:
    ends = pod("Failed", ended(137), meta={"deletionTimestamp": STARTED})
    found = known(job(meta={"deletionTimestamp": STARTED}), ends)
    assert found.deletion_deadline == at(LATER)


def test_shared_values_are_in_memory_once() -> None:
    one, other = [job_status(json.loads(json.dumps(job()))) for _ in range(2)]
    its = pod_status(json.loads(json.dumps(RUNS)))
    assert one.namespace is other.namespace is its.namespace
    assert one.worker is other.worker
    assert one.limits is other.limits


def test_between_two_tries_nothing_is_stuck() -> None:
    failed = pod("Failed", ended(128, "StartError", message="no such file"))
    found = known(job(spec={"backoffLimit": 3}), failed)
    assert found.cause is not None
    assert (found.phase, found.cause.code, found.cause.stuck) == (Phase.WAITING, "NoStart", False)


@pytest.mark.parametrize(
    ("of_job", "pods", "started"),
    [
        (job(), (), False),
        (job(), (BACK_OFF,), False),
        (job(), (RUNS,), True),
        (job(), (FAILS,), True),
        (job(status={"ready": 1}), (), True),
        (job(status={"failed": 1}, spec={"backoffLimit": 3}), (), True),
    ],
)
def test_started(of_job: Json, pods: tuple[Json, ...], started: bool) -> None:
    assert known(of_job, *pods).started is started


@pytest.mark.parametrize(
    ("of_job", "pods", "restarts"),
    [
        (job(spec={"backoffLimit": 1}), (), False),
        (job(spec={"backoffLimit": 1}), (BACK_OFF,), False),
        (job(spec={"backoffLimit": 1}), (RUNS,), False),
        (job(spec={"backoffLimit": 1}), (FAILS,), True),
        (job(spec={"backoffLimit": 1}), (FAILS, PULLING), True),
        (job(spec={"backoffLimit": 1}), (FAILS, RUNS), False),
        (job(spec={"backoffLimit": 1}), (FAILS, FAILS), False),
        (job(), (FAILS,), False),
        (job([condition("Failed", "BackoffLimitExceeded")]), (FAILS,), False),
    ],
)
def test_restarts_between_two_tries(of_job: Json, pods: tuple[Json, ...], restarts: bool) -> None:
    facts = [replace(pod_status(each), uid=str(number)) for number, each in enumerate(pods)]
    assert combine(job_status(of_job), facts, location="", pid="").restarts is restarts


def test_deadline_includes_the_cause_of_the_wait() -> None:
    found = known(job([condition("Failed", "DeadlineExceeded")]), BACK_OFF)
    assert found.cause is not None
    assert "Until then: the image 'reg.example/flow:1' cannot be pulled" in found.cause.message


def test_status_of_a_restarted_pod() -> None:
    last = {"terminated": {"exitCode": 1, "startedAt": STARTED, "finishedAt": LATER}}
    facts = pod_status(pod("Running", running(LAST, restartCount=1, lastState=last)))
    assert (facts.phase, facts.restarts) == (Phase.RUNNING, 1)
    assert facts.started == at(STARTED)
    assert facts.since == at(LAST)


_ANY_POD = st.sampled_from([PULLING, BACK_OFF, RUNS, FAILS, DONE, unscheduled("full")])
_ANY_JOB = st.sampled_from(
    [
        job(),
        job(spec={"backoffLimit": 3}),
        job([condition("Failed", "BackoffLimitExceeded")]),
        job([condition("Complete")]),
        job(spec={"suspend": True}),
    ]
)


@given(_ANY_JOB, st.lists(_ANY_POD, max_size=5), st.randoms(use_true_random=False))
def test_order_of_pods_does_not_matter(
    of_job: Json, pods: list[Json], chance: random.Random
) -> None:
    facts = [replace(pod_status(each), uid=str(number)) for number, each in enumerate(pods)]
    shuffled = list(facts)
    chance.shuffle(shuffled)
    job_ = job_status(of_job)
    assert combine(job_, facts, location="", pid="") == combine(job_, shuffled, location="", pid="")


@given(_ANY_JOB, st.lists(_ANY_POD, max_size=5))
def test_job_with_a_running_pod_is_over_only_by_its_own_status(
    of_job: Json, pods: list[Json]
) -> None:
    facts = job_status(of_job)
    found = known(of_job, *pods, RUNS)
    assert found.phase.is_over is (facts.phase is not None and facts.phase.is_over)
