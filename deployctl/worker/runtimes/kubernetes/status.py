"""Jobs and pods of the Kubernetes API, reduced to what decides anything, and merged into a `Job`.

A worker keeps thousands of pods in memory, so only a few fields are kept of each. The status of a
Job and of its pods arrive in any order and at any time, so `combine` depends on neither. Conditions
of the Job take precedence over its counts and its pods: with a deadline or a failure policy, a Job
can fail although tries are left (and its count of failures says nothing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from sys import intern

from deployctl.core.json_values import Json
from deployctl.jobs.job_labels import (
    ATTEMPT,
    METADATA_ANNOTATION,
    OWNER,
    RUN,
    decode_metadata,
)
from deployctl.jobs.model import Limits
from deployctl.worker.model import Cause, Job, Phase
from deployctl.worker.runtimes.kubernetes.diagnosis import pod_cause
from deployctl.worker.runtimes.kubernetes.fields import (
    main_container_name,
    parse_time,
    true_condition,
)


@dataclass(frozen=True, slots=True)
class PodStatus:
    """What is kept of a pod. Times are seconds of the epoch."""

    name: str
    namespace: str
    uid: str
    attempt: str
    phase: Phase
    """State of the main container: RUNNING only while that runs."""
    since: float
    """Time of entry into this phase; for a waiting pod, when it was scheduled, else created."""
    cause: Cause | None = None
    restarts: int = 0
    """Number of restarts of the main container."""
    started: float | None = None
    """First start of the main container, as far as the pod's status still has it."""
    ends_at: float | None = None
    """End of the pod's grace period, if it is being deleted."""
    lingers: bool = False
    """The main container has ended for good, and another one keeps the pod alive."""
    container: str = ""
    """Name of the main container."""
    owner: str = ""
    """Value of the label OWNER."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What is kept of a Job. Times are seconds of the epoch."""

    name: str
    namespace: str
    uid: str
    run: str
    attempt: str
    worker: str
    limits: Limits
    created: float
    phase: Phase | None = None
    """SUCCEEDED or FAILED once the Job controller says so; WAITING while suspended."""
    since: float = 0.0
    cause: Cause | None = None
    retries: bool = False
    """A failed pod may be followed by another one."""
    backoff_limit: int = 0
    """How many failed pods are followed by another one for sure."""
    started: bool = False
    """A pod of the Job has run, even if that pod is not known (any more)."""
    deleting: bool = False
    deleted_at: float = 0.0
    """When the deletion was requested."""
    owner: str = ""
    """Value of the label OWNER."""


def pod_status(pod: Json) -> PodStatus:
    """Reduces the JSON of a pod to its status."""
    meta, status = pod.get("metadata") or {}, pod.get("status") or {}
    name = main_container_name(pod)
    main = _container_status(status, name)
    state = main.get("state") or {}
    phase, lingers = _pod_phase(pod, state)
    ended = state.get("terminated") or (main.get("lastState") or {}).get("terminated") or {}
    running = state.get("running") or {}
    first = (main.get("lastState") or {}).get("terminated") or running or ended
    return PodStatus(
        name=str(meta.get("name", "")),
        namespace=intern(str(meta.get("namespace", ""))),
        uid=str(meta.get("uid", "")),
        attempt=str((meta.get("labels") or {}).get(ATTEMPT, "")),
        phase=phase,
        since=_pod_since(pod, phase, running, ended),
        cause=None if phase is Phase.SUCCEEDED else pod_cause(pod),
        restarts=int(main.get("restartCount") or 0),
        started=parse_time(first.get("startedAt")),
        ends_at=parse_time(meta.get("deletionTimestamp")),
        lingers=lingers,
        container=name,
        owner=_owner(meta),
    )


def job_status(job: Json) -> JobStatus:
    """Reduces the JSON of a Job to its status."""
    meta, spec, status = job.get("metadata") or {}, job.get("spec") or {}, job.get("status") or {}
    labels = meta.get("labels") or {}
    worker, limits = decode_metadata((meta.get("annotations") or {}).get(METADATA_ANNOTATION))
    created = parse_time(meta.get("creationTimestamp")) or 0.0
    phase, since, cause = _job_phase(spec, status)
    return JobStatus(
        name=str(meta.get("name", "")),
        namespace=intern(str(meta.get("namespace", ""))),
        uid=str(meta.get("uid", "")),
        run=str(labels.get(RUN, "")),
        attempt=str(labels.get(ATTEMPT, "")),
        worker=worker,
        limits=limits,
        created=created,
        phase=phase,
        since=since or created,
        cause=cause,
        backoff_limit=spec.get("backoffLimit", 6),
        retries=spec.get("backoffLimit", 6) > 0 or bool(spec.get("podFailurePolicy")),
        started=any(status.get(name) for name in ("ready", "succeeded", "failed")),
        deleting=bool(meta.get("deletionTimestamp")),
        deleted_at=parse_time(meta.get("deletionTimestamp")) or 0.0,
        owner=_owner(meta),
    )


def _owner(meta: Json) -> str:
    return intern(str((meta.get("labels") or {}).get(OWNER, "")))


def combine(job: JobStatus, pods: Sequence[PodStatus], *, location: str, pid: str) -> Job:
    """Merges the status of a Job and of its pods, in any order, into a `Job`.

    `location` and `pid` are those of `model.Job`. Times are by the cluster's clock. A Job that is
    going to fail is FAILED from the time at which the grace period of its last pod ends, which may
    be in the future.
    """
    pods = sorted(pods, key=lambda pod: (pod.since, pod.uid))
    base = Job(
        run=job.run,
        attempt=job.attempt,
        name=job.name,
        location=location,
        pid=pid,
        worker=job.worker,
        phase=Phase.WAITING,
        since=job.created,
        started=job.started or any(_has_run(pod) for pod in pods),
        limits=job.limits,
        deleting=job.deleting,
        deletion_deadline=_deletion_deadline(job, pods),
    )
    if job.phase is not None and job.phase.is_over:
        ends = [pod.ends_at for pod in pods if pod.ends_at and not pod.phase.is_over]
        cause = _end_cause(job, pods) if job.phase is Phase.FAILED else None
        return replace(base, phase=job.phase, since=max(job.since, *ends, 0.0), cause=cause)
    if job.phase is Phase.WAITING:
        return replace(base, since=job.since, cause=job.cause)
    if running := [pod for pod in pods if pod.phase is Phase.RUNNING]:
        started = min(pod.started or pod.since for pod in pods if pod.started or pod in running)
        return replace(base, phase=Phase.RUNNING, since=started, cause=running[-1].cause)
    if last := _final_pod(job, pods):
        return replace(base, phase=last.phase, since=last.since, cause=last.cause)
    failures = sum(pod.phase is Phase.FAILED for pod in pods)
    restarts = base.started and failures <= job.backoff_limit
    return _waiting(replace(base, restarts=restarts), pods)


def _deletion_deadline(job: JobStatus, pods: Sequence[PodStatus]) -> float | None:
    """When the last pod has ended, or should have; None as long as a pod is not being deleted
    itself. A pod may end late, and its Job is deleted some time after it."""
    ends = [pod.since if pod.phase.is_over else pod.ends_at for pod in pods]
    return None if not job.deleting or None in ends else max(job.deleted_at, *filter(None, ends), 0)


def _has_run(pod: PodStatus) -> bool:
    return pod.started is not None or pod.phase in (Phase.RUNNING, Phase.SUCCEEDED)


def _final_pod(job: JobStatus, pods: Sequence[PodStatus]) -> PodStatus | None:
    """The pod that ends a Job although the Job controller has not said so yet, if there is one."""
    if any(not pod.phase.is_over for pod in pods):
        return None
    for pod in pods:
        if pod.phase is Phase.SUCCEEDED or (pod.lingers and not job.retries):
            return pod
    return None


def _waiting(base: Job, pods: Sequence[PodStatus]) -> Job:
    """The status of a Job none of whose pods runs.

    A wait that does not end by itself begins when its pod was scheduled, any other with the Job or
    the end of the previous try. Between two tries nothing is stuck, whatever ended the first one.
    """
    waiting = [pod for pod in pods if pod.phase is Phase.WAITING]
    if not pods:
        return base
    pod = next((pod for pod in waiting if pod.cause), (waiting or pods)[-1])
    tries = [each.since for each in pods if each.phase.is_over or each.started is not None]
    since = max([base.since, *tries])
    if pod.cause is None or not pod.cause.stuck:
        return replace(base, since=since, cause=pod.cause)
    if pod not in waiting:
        return replace(base, since=since, cause=replace(pod.cause, stuck=False))
    return replace(base, since=max(since, pod.since), cause=pod.cause)


def _end_cause(job: JobStatus, pods: Sequence[PodStatus]) -> Cause | None:
    """The cause of the last pod where the Job's own cause says only that a pod failed."""
    causes = [pod.cause for pod in pods if pod.cause]
    if job.cause is None or not causes:
        return job.cause or (causes[-1] if causes else None)
    if job.cause.code in ("BackoffLimitExceeded", "PodFailurePolicy", "JobFailed"):
        return causes[-1]
    waits = [pod.cause for pod in pods if pod.cause and pod.started is None]
    if waits:
        text = f"{job.cause.message}. Until then: {waits[-1].message}"
        return replace(job.cause, message=text, help=waits[-1].help)
    return job.cause


_POD_PHASES = {
    "Succeeded": Phase.SUCCEEDED,
    "Failed": Phase.FAILED,
    "Pending": Phase.WAITING,
    None: Phase.WAITING,
}
"""Phases of a pod that say enough; in any other, the state of the main container decides."""


def _pod_phase(pod: Json, main: Json) -> tuple[Phase, bool]:
    """The phase of a pod, and whether it lingers (`PodStatus.lingers`)."""
    phase = (pod.get("status") or {}).get("phase")
    if phase in _POD_PHASES:
        return _POD_PHASES[phase], False
    if main.get("waiting"):
        return Phase.WAITING, False
    ended = main.get("terminated")
    if not ended:
        return Phase.RUNNING, False
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    lingers = any((each.get("state") or {}).get("running") for each in containers)
    if ended.get("exitCode") == 0:
        return Phase.SUCCEEDED, lingers
    if (pod.get("spec") or {}).get("restartPolicy") == "OnFailure":
        return Phase.WAITING, False
    return Phase.FAILED, lingers


def _pod_since(pod: Json, phase: Phase, running: Json, ended: Json) -> float:
    meta, status = pod.get("metadata") or {}, pod.get("status") or {}
    created = parse_time(meta.get("creationTimestamp")) or 0.0
    if phase is Phase.RUNNING:
        return (
            parse_time(running.get("startedAt")) or parse_time(status.get("startTime")) or created
        )
    if phase is Phase.WAITING and not ended:
        return _condition_time(status, "PodScheduled") or created
    at = parse_time(ended.get("finishedAt")) or _condition_time(status, "DisruptionTarget")
    return at or parse_time(status.get("startTime")) or created


def _condition_time(status: Json, kind: str) -> float | None:
    condition = true_condition(status, kind)
    return parse_time(condition.get("lastTransitionTime")) if condition else None


def _container_status(status: Json, container: str) -> Json:
    for each in status.get("containerStatuses") or ():
        if each.get("name") == container:
            return each
    return {}


def _job_phase(spec: Json, status: Json) -> tuple[Phase | None, float | None, Cause | None]:
    for kind in ("Failed", "FailureTarget", "Complete", "SuccessCriteriaMet"):
        if condition := true_condition(status, kind):
            since = parse_time(condition.get("lastTransitionTime"))
            if kind in ("Complete", "SuccessCriteriaMet"):
                return Phase.SUCCEEDED, since, None
            return Phase.FAILED, since, _job_cause(spec, condition)
    if (status.get("failed") or 0) > spec.get("backoffLimit", 6):
        return Phase.FAILED, None, _job_cause(spec, {"reason": "BackoffLimitExceeded"})
    if suspended := true_condition(status, "Suspended"):
        since = parse_time(suspended.get("lastTransitionTime"))
        return Phase.WAITING, since, _SUSPENDED
    if spec.get("suspend"):
        return Phase.WAITING, None, _SUSPENDED
    return None, None, None


_SUSPENDED = Cause(
    "Suspended",
    "the Job is suspended",
    "Set its `suspend` to false, unless a queue such as Kueue is going to do that.",
)


def _job_cause(spec: Json, condition: Json) -> Cause:
    reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
    if reason == "DeadlineExceeded":
        seconds = spec.get("activeDeadlineSeconds")
        return Cause(
            reason,
            f"the Job ran longer than its deadline of {seconds} seconds",
            "Raise `activeDeadlineSeconds` in the job manifest, or make the flow faster.",
        )
    if reason == "BackoffLimitExceeded":
        text = (
            "the pod of the Job failed" if not spec.get("backoffLimit") else "all its pods failed"
        )
        return Cause(reason, text, "Its log, if there is one, says more.")
    if reason == "PodFailurePolicy":
        return Cause(reason, f"the Job's failure policy ended it: {message}".rstrip(". :"))
    return Cause("JobFailed", f"the Job failed: {message or reason}".rstrip(". :"))
