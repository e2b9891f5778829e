"""Events for the Prefect server about the phases of pods, as Prefect 3's worker sends them.

The id is derived in the same way as by that worker's observer, so that the server takes the events
that both send about one pod as one, wherever they agree on the diagnosis. Unlike there, only a pod
that the cluster removed is `evicted`; one whose program failed is `failed`.
"""

from __future__ import annotations

import json

from deployctl.core.json_values import Json
from deployctl.worker.runtimes.kubernetes.diagnosis import pod_cause, pod_reason
from deployctl.worker.runtimes.kubernetes.fields import parse_time, true_condition
from deployctl.worker.server.events import event, related, worker_id

_PHASES = frozenset(("Pending", "Running", "Succeeded", "Failed"))
_EVICTIONS = frozenset(("Evicted", "Preempted"))
_RELATED_LABELS = {
    "flow-run": ("prefect.io/flow-run-id", "prefect.io/flow-run-name"),
    "deployment": ("prefect.io/deployment-id", "prefect.io/deployment-name"),
    "flow": ("prefect.io/flow-id", "prefect.io/flow-name"),
    "work-pool": ("prefect.io/work-pool-id", "prefect.io/work-pool-name"),
}


def pod_event(pod: Json, now: float, follows: Json = None) -> Json | None:
    """The event of a pod's phase; None for a phase that has none.

    `now` is its time if the pod's status has none (seconds of the epoch), `follows` the previous
    event of this pod. The same phase, restarts and cause give the same id.
    """
    meta, status = pod.get("metadata") or {}, pod.get("status") or {}
    phase = status.get("phase")
    if phase not in _PHASES:
        return None
    cause = pod_cause(pod)
    reason_cause = pod_reason(pod) if phase == "Failed" else None
    resource = {
        "prefect.resource.id": f"prefect.kubernetes.pod.{meta['uid']}",
        "prefect.resource.name": meta["name"],
        "kubernetes.namespace": meta.get("namespace", ""),
    }
    if cause:
        resource["kubernetes.diagnosis"] = cause.code
    if phase == "Failed" and (reason := _cluster_reason(status)):
        resource["kubernetes.reason"] = reason
    identity = {
        "uid": meta["uid"],
        "phase": phase,
        "restart_count": sum(each.get("restartCount", 0) for each in _container_statuses(status)),
        "diagnosis": cause.code if cause else None,
    }
    name = "evicted" if reason_cause and reason_cause.code in _EVICTIONS else phase.lower()
    return event(
        f"prefect.kubernetes.pod.{name}",
        resource,
        _related(meta.get("labels") or {}),
        _occurred_at(meta, status, now),
        json.dumps(identity, sort_keys=True),
        follows,
    )


def _related(labels: Json) -> list[Json]:
    found = [
        related(role, labels[id_label], labels.get(name_label, ""))
        for role, (id_label, name_label) in _RELATED_LABELS.items()
        if labels.get(id_label)
    ]
    if worker := labels.get("prefect.io/worker-name"):
        found.append(related("worker", worker_id("kubernetes", worker), worker))
    return found


def _cluster_reason(status: Json) -> str:
    """The cluster's own reason of a failure."""
    if reason := status.get("reason"):
        return str(reason)
    if condition := true_condition(status, "DisruptionTarget"):
        return str(condition.get("reason", ""))
    for each in _container_statuses(status):
        if reason := ((each.get("state") or {}).get("terminated") or {}).get("reason"):
            return str(reason)
    return ""


def _occurred_at(meta: Json, status: Json, now: float) -> float:
    if status["phase"] == "Pending":
        times = [meta.get("creationTimestamp")]
    elif status["phase"] == "Running":
        times = _times(status, "running", "startedAt") or [status.get("startTime")]
    else:
        times = _times(status, "terminated", "finishedAt")
    return max(filter(None, map(parse_time, times)), default=now)


def _times(status: Json, state: str, name: str) -> list[Json]:
    states = ((each.get("state") or {}).get(state) or {} for each in _container_statuses(status))
    return [each[name] for each in states if each.get(name)]


def _container_statuses(status: Json) -> Json:
    return status.get("containerStatuses") or ()
