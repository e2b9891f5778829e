"""Jobs and pods as returned by the Kubernetes API, with the fields that a test sets."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from deployctl.core.json_values import Json

CREATED = "2026-11-21T10:00:00Z"
STARTED = "2026-11-21T10:00:05Z"
LATER = "2026-11-21T10:01:00Z"
LAST = "2026-11-21T10:02:00Z"


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def job(conditions: Any = (), **parts: Any) -> Json:
    """A Job; `status`, `spec` and `meta` in `parts` override its fields."""
    return {
        "metadata": {
            "name": "hello-1a2b",
            "namespace": "flows",
            "uid": "job-uid",
            "creationTimestamp": CREATED,
            "labels": {
                "deployctl.io/pool-id": "pool",
                "deployctl.io/run-id": "run",
                "deployctl.io/attempt": "attempt",
            },
            "annotations": {
                "deployctl.io/job": '{"worker": "w1", "start_timeout": 60.0, '
                '"start_timeout_explicit": true, "run_timeout": null, '
                '"ignores_cancellation": true, "stream_output": true}'
            },
            **parts.get("meta", {}),
        },
        "spec": {"backoffLimit": 0, **parts.get("spec", {})},
        "status": {"conditions": list(conditions), **parts.get("status", {})},
    }


def condition(kind: str, reason: str = "", message: str = "", time: str = LATER) -> Json:
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": time,
    }


def pod(phase: str, *containers: Json, **parts: Any) -> Json:
    """A pod with the container `prefect-job` and a sidecar `proxy`; `containers`: their states."""
    return {
        "metadata": {
            "name": "hello-1a2b-xyz",
            "namespace": "flows",
            "uid": "pod-uid",
            "creationTimestamp": CREATED,
            "labels": {"deployctl.io/attempt": "attempt"},
            **parts.get("meta", {}),
        },
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {"name": "proxy"},
                {"name": "prefect-job", "resources": {"limits": {"memory": "512Mi"}}},
            ],
            **parts.get("spec", {}),
        },
        "status": {
            "phase": phase,
            "containerStatuses": list(containers),
            **parts.get("status", {}),
        },
    }


def waiting(reason: str, message: str = "", name: str = "prefect-job", **more: Any) -> Json:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": name, "image": "reg.example/flow:1", "state": state, **more}


def running(since: str = STARTED, name: str = "prefect-job", **more: Any) -> Json:
    return {"name": name, "state": {"running": {"startedAt": since}}, **more}


def ended(
    code: int, reason: str = "Error", name: str = "prefect-job", message: str = "", **more: Any
) -> Json:
    state = {
        "exitCode": code,
        "reason": reason,
        "message": message,
        "startedAt": STARTED,
        "finishedAt": LATER,
    }
    return {"name": name, "state": {"terminated": state}, **more}


def unscheduled(message: str, reason: str = "Unschedulable") -> Json:
    condition_ = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return pod("Pending", status={"conditions": [condition_]})
