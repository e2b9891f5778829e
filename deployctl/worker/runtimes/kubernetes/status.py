"""Jobs and pods of the Kubernetes API as small facts, and both together as one `model.Job`.

A worker keeps thousands of pods in memory, so only what decides anything is kept of each. The facts
of a Job and of its pods come in any order and at any time, so `combine` does not depend on either.
A Job's own conditions decide before its counts and its pods: with a deadline or a failure policy a
Job fails that has tries left (and whose count of failures says nothing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from sys import intern

from deployctl.core.json_values import Json
from deployctl.jobs.job_labels import ATTEMPT, METADATA_ANNOTATION, RUN, decode_metadata
from deployctl.jobs.model import Limits
from deployctl.worker.model import Cause, Job, Phase
from deployctl.worker.runtimes.kubernetes.diagnosis import main_container, pod_cause


@dataclass(frozen=True, slots=True)
class PodStatus:
    """All that is kept of a pod. Times are seconds of the epoch."""

    name: str
    namespace: str
    uid: str
    attempt: str
    phase: Phase
    """What its main container does: RUNNING only while that runs."""
    since: float
    """When it came into this phase; of a pod that waits: when it got a node, else was made."""
    cause: Cause | None = None
    restarts: int = 0
    """How often its main container was started again."""
    started: float | None = None
    """When its main container was started first, as far as that is still known."""
    ending_at: float | None = None
    """When the time is over that it was given to end."""
    lingers: bool = False
    """Its main container has ended for good, and another keeps the pod alive."""
    container: str = ""
    """The name of the main container."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """All that is kept of a Job. Times are seconds of the epoch."""

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
    """A pod of it that fails may be followed by another."""
    started: bool = False
    """A pod of it has run, even if that pod is not known (any more)."""
    deleting: bool = False


def pod_status(pod: Json) -> PodStatus:
    """The facts of a pod, from its JSON."""
    meta, status = pod.get("metadata") or {}, pod.get("status") or {}
    name = main_container(pod)
    main = _status_of(status, name)
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
        started=_time(first.get("startedAt")),
        ending_at=_time(meta.get("deletionTimestamp")),
        lingers=lingers,
        container=name,
    )


def job_status(job: Json) -> JobStatus:
    """The facts of a Job, from its JSON."""
    meta, spec, status = job.get("metadata") or {}, job.get("spec") or {}, job.get("status") or {}
    labels = meta.get("labels") or {}
    worker, limits = decode_metadata((meta.get("annotations") or {}).get(METADATA_ANNOTATION))
    created = _time(meta.get("creationTimestamp")) or 0.0
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
        retries=spec.get("backoffLimit", 6) > 0 or bool(spec.get("podFailurePolicy")),
        started=any(status.get(name) for name in ("ready", "succeeded", "failed")),
        deleting=bool(meta.get("deletionTimestamp")),
    )


def combine(job: JobStatus, pods: Sequence[PodStatus], *, location: str, pid: str) -> Job:
    """What a worker knows of a job, from the facts of its Job and of its pods in any order.

    `place` and `pid` are those of `model.Job`. Times are taken as the cluster's clock gives them. A
    Job that is to fail is FAILED from the moment on at which the last of its pods has to have
    ended, which may lie ahead.
    """
    pods = sorted(pods, key=lambda pod: (pod.since, pod.uid))
    known = Job(
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
    )
    if job.phase is not None and job.phase.is_over:
        ends = [pod.ending_at for pod in pods if pod.ending_at and not pod.phase.is_over]
        cause = _end_cause(job, pods) if job.phase is Phase.FAILED else None
        return replace(known, phase=job.phase, since=max(job.since, *ends, 0.0), cause=cause)
    if job.phase is Phase.WAITING:
        return replace(known, since=job.since, cause=job.cause)
    if running := [pod for pod in pods if pod.phase is Phase.RUNNING]:
        started = min(pod.started or pod.since for pod in pods if pod.started or pod in running)
        return replace(known, phase=Phase.RUNNING, since=started, cause=running[-1].cause)
    if over := _over(job, pods):
        return replace(known, phase=over.phase, since=over.since, cause=over.cause)
    return _waiting(known, pods)


def _has_run(pod: PodStatus) -> bool:
    return pod.started is not None or pod.phase in (Phase.RUNNING, Phase.SUCCEEDED)


def _over(job: JobStatus, pods: Sequence[PodStatus]) -> PodStatus | None:
    """The pod with which a Job is over although the Job does not say so yet, if there is one."""
    if any(not pod.phase.is_over for pod in pods):
        return None
    for pod in pods:
        if pod.phase is Phase.SUCCEEDED or (pod.lingers and not job.retries):
            return pod
    return None


def _waiting(known: Job, pods: Sequence[PodStatus]) -> Job:
    """A wait that does not end by itself begins when its pod got a node, any other with the Job
    or with the end of the try before. Between two tries nothing is stuck, whatever ended the first.
    """
    waiting = [pod for pod in pods if pod.phase is Phase.WAITING]
    if not pods:
        return known
    told = next((pod for pod in waiting if pod.cause), (waiting or pods)[-1])
    tried = [pod.since for pod in pods if pod.phase.is_over or pod.started is not None]
    since = max([known.since, *tried])
    if told.cause is None or not told.cause.stuck:
        return replace(known, since=since, cause=told.cause)
    if told not in waiting:
        return replace(known, since=since, cause=replace(told.cause, stuck=False))
    return replace(known, since=max(since, told.since), cause=told.cause)


def _end_cause(job: JobStatus, pods: Sequence[PodStatus]) -> Cause | None:
    """The pod's own cause where the Job's says only that a pod failed; the last one counts."""
    told = [pod.cause for pod in pods if pod.cause]
    if job.cause is None or not told:
        return job.cause or (told[-1] if told else None)
    if job.cause.code in ("BackoffLimitExceeded", "PodFailurePolicy", "JobFailed"):
        return told[-1]
    waited = [pod.cause for pod in pods if pod.cause and pod.started is None]
    if waited:
        text = f"{job.cause.message}. Until then: {waited[-1].message}"
        return replace(job.cause, message=text, help=waited[-1].help)
    return job.cause


def _pod_phase(pod: Json, main: Json) -> tuple[Phase, bool]:
    """The phase of a pod, and whether it only lingers."""
    phase = (pod.get("status") or {}).get("phase")
    if phase == "Succeeded":
        return Phase.SUCCEEDED, False
    if phase == "Failed":
        return Phase.FAILED, False
    if phase in ("Pending", None):
        return Phase.WAITING, False
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
    created = _time(meta.get("creationTimestamp")) or 0.0
    if phase is Phase.RUNNING:
        return _time(running.get("startedAt")) or _time(status.get("startTime")) or created
    if phase is Phase.WAITING and not ended:
        return _condition_time(status, "PodScheduled") or created
    at = _time(ended.get("finishedAt")) or _condition_time(status, "DisruptionTarget")
    return at or _time(status.get("startTime")) or created


def _condition_time(status: Json, kind: str) -> float | None:
    for condition in status.get("conditions") or ():
        if condition.get("type") == kind and condition.get("status") == "True":
            return _time(condition.get("lastTransitionTime"))
    return None


def _status_of(status: Json, container: str) -> Json:
    for each in status.get("containerStatuses") or ():
        if each.get("name") == container:
            return each
    return {}


def _job_phase(spec: Json, status: Json) -> tuple[Phase | None, float | None, Cause | None]:
    true = {
        each.get("type"): each
        for each in status.get("conditions") or ()
        if each.get("status") == "True"
    }
    for kind in ("Failed", "FailureTarget", "Complete", "SuccessCriteriaMet"):
        if condition := true.get(kind):
            since = _time(condition.get("lastTransitionTime"))
            if kind in ("Complete", "SuccessCriteriaMet"):
                return Phase.SUCCEEDED, since, None
            return Phase.FAILED, since, _job_cause(spec, condition)
    if (status.get("failed") or 0) > spec.get("backoffLimit", 6):
        return Phase.FAILED, None, _job_cause(spec, {"reason": "BackoffLimitExceeded"})
    if suspended := true.get("Suspended"):
        since = _time(suspended.get("lastTransitionTime"))
        return Phase.WAITING, since, _SUSPENDED
    if spec.get("suspend"):
        return Phase.WAITING, None, _SUSPENDED
    return None, None, None


_SUSPENDED = Cause(
    "Suspended",
    "The Job is suspended",
    help="Somebody, or a queue such as Kueue, has to set its `suspend` to false.",
)


def _job_cause(spec: Json, condition: Json) -> Cause:
    reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
    if reason == "DeadlineExceeded":
        seconds = spec.get("activeDeadlineSeconds")
        return Cause(
            reason,
            f"The Job ran longer than its deadline of {seconds} seconds",
            help="Raise `activeDeadlineSeconds` in the job manifest, or make the flow quicker.",
        )
    if reason == "BackoffLimitExceeded":
        text = (
            "The pod of the Job failed" if not spec.get("backoffLimit") else "All its pods failed"
        )
        return Cause(reason, text, help="Its log, if there is one, says more.")
    if reason == "PodFailurePolicy":
        return Cause(reason, f"The Job's failure policy ended it: {message}".rstrip(". :"))
    return Cause("JobFailed", f"The Job failed: {message or reason}".rstrip(". :"))


def _time(text: Json) -> float | None:
    """Seconds of the epoch of a time as the API writes it."""
    return datetime.fromisoformat(text).timestamp() if text else None
