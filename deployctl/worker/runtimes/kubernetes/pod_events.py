"""What happens to a pod as an event of the Prefect server, as the 3.x worker's observer tells it.

The id is made as that observer makes it, so that the server takes what both tell of one pod as one
event wherever they agree on the diagnosis. Unlike there, only a pod that the cluster took away is
`evicted`; one whose program failed is `failed`.
"""

from __future__ import annotations

import json
from datetime import datetime

from deployctl.core.json_values import Json
from deployctl.worker.runtimes.kubernetes.diagnosis import pod_cause, pod_reason
from deployctl.worker.server.events import event, related, worker_id

_PHASES = frozenset(("Pending", "Running", "Succeeded", "Failed"))
_TAKEN = frozenset(("Evicted", "Preempted"))
_RELATED = {
    "flow-run": ("prefect.io/flow-run-id", "prefect.io/flow-run-name"),
    "deployment": ("prefect.io/deployment-id", "prefect.io/deployment-name"),
    "flow": ("prefect.io/flow-id", "prefect.io/flow-name"),
    "work-pool": ("prefect.io/work-pool-id", "prefect.io/work-pool-name"),
}


def pod_event(pod: Json, now: float, follows: Json = None) -> Json | None:
    """The event of a pod's phase; None for a phase that has none.

    `now`: when it happened, where the pod does not say (seconds of the epoch); `follows`: the event
    of this pod before. Calling it again for the same phase, restarts and cause gives the same id.
    """
    meta, status = pod.get("metadata") or {}, pod.get("status") or {}
    phase = status.get("phase")
    if phase not in _PHASES:
        return None
    cause = pod_cause(pod)
    taken = pod_reason(pod) if phase == "Failed" else None
    resource = {
        "prefect.resource.id": f"prefect.kubernetes.pod.{meta['uid']}",
        "prefect.resource.name": meta["name"],
        "kubernetes.namespace": meta.get("namespace", ""),
    }
    if cause:
        resource["kubernetes.diagnosis"] = cause.code
    if phase == "Failed" and (reason := _reason(status)):
        resource["kubernetes.reason"] = reason
    identity = {
        "uid": meta["uid"],
        "phase": phase,
        "restart_count": sum(each.get("restartCount", 0) for each in _own(status)),
        "diagnosis": cause.code if cause else None,
    }
    name = "evicted" if taken and taken.code in _TAKEN else phase.lower()
    return event(
        f"prefect.kubernetes.pod.{name}",
        resource,
        _related(meta.get("labels") or {}),
        _occurred(meta, status, now),
        json.dumps(identity, sort_keys=True),
        follows,
    )


def _related(labels: Json) -> list[Json]:
    found = [
        related(role, labels[id_label], labels.get(name_label, ""))
        for role, (id_label, name_label) in _RELATED.items()
        if labels.get(id_label)
    ]
    if worker := labels.get("prefect.io/worker-name"):
        found.append(related("worker", worker_id("kubernetes", worker), worker))
    return found


def _reason(status: Json) -> str:
    """The cluster's own word for a failure."""
    if reason := status.get("reason"):
        return str(reason)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return str(condition.get("reason", ""))
    for each in _own(status):
        if reason := ((each.get("state") or {}).get("terminated") or {}).get("reason"):
            return str(reason)
    return ""


def _occurred(meta: Json, status: Json, now: float) -> float:
    if status["phase"] == "Pending":
        times = [meta.get("creationTimestamp")]
    elif status["phase"] == "Running":
        times = _times(status, "running", "startedAt") or [status.get("startTime")]
    else:
        times = _times(status, "terminated", "finishedAt")
    known = [datetime.fromisoformat(time).timestamp() for time in times if time]
    return max(known, default=now)


def _times(status: Json, state: str, name: str) -> list[Json]:
    states = ((each.get("state") or {}).get(state) or {} for each in _own(status))
    return [each[name] for each in states if each.get(name)]


def _own(status: Json) -> Json:
    return status.get("containerStatuses") or ()
