"""Simulated kubelet: a test sets the status of the real pods that the Job controller creates.

    kubelet = Kubelet(control_plane.admin, namespace)
    pod = kubelet.pod_of("my-job")
    kubelet.running(pod)
    kubelet.failed(pod, 137, "OOMKilled")

Pods are passed by name. Statuses equal those of the kubelet of Kubernetes 1.36. Nothing happens by
itself: a deleted pod that has a node stays in termination until `remove`. In a cluster with a
scheduler and nodes, `SCHEDULER` keeps pods from being scheduled.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.support.cluster.api import KubeApi, Refused
from tests.support.waiting import until

SCHEDULER = "none"
"""The `schedulerName` of all pods of tests: no scheduler handles it."""


def unscheduled(template: Any) -> Any:
    """A work pool's template, changed so that its pods have `SCHEDULER`."""
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    pod["schedulerName"] = SCHEDULER
    return template


class Kubelet:
    """Sets the status of the pods of one namespace."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self._api = api
        self._node = namespace
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._job = f"/apis/batch/v1/namespaces/{namespace}/jobs"

    def pods(self, job: str = "") -> list[Any]:
        """The pods of a job, or all, oldest first."""
        selector = f"?labelSelector=batch.kubernetes.io/job-name%3D{job}" if job else ""
        found = self._api.items(self._pods + selector)
        return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def pod_of(self, job: str, *, other_than: str = "") -> str:
        """Wait for a pod of the job other than `other_than`; returns the name of the newest."""

        def others() -> list[str]:
            names = [pod["metadata"]["name"] for pod in self.pods(job)]
            return [name for name in names if name != other_than]

        return until(others, lambda: f"no pod of job {job}")[-1]

    def get(self, pod: str) -> Any:
        """The pod, or None if it does not exist."""
        return self._api.find(f"{self._pods}/{pod}")

    # Before it runs

    def unschedulable(self, pod: str, message: str = "0/1 nodes are available.") -> None:
        """Report that no node fits."""
        self._set(pod, "Pending", [_condition("PodScheduled", False, "Unschedulable", message)])

    def schedule(self, pod: str) -> None:
        """Bind the pod to the node named like the namespace, unless it is bound."""
        target = {"apiVersion": "v1", "kind": "Node", "name": self._node}
        binding = {"metadata": {"name": pod}, "target": target}
        try:
            self._api.request("POST", f"{self._pods}/{pod}/binding", binding)
        except Refused as refusal:
            if refusal.status != 409:
                raise

    def waiting(self, pod: str, reason: str, message: str = "") -> None:
        """Report that the container cannot start yet on its node.

        `reason` is the kubelet's: ContainerCreating, ErrImagePull, ImagePullBackOff,
        CreateContainerConfigError, …
        """
        self.schedule(pod)
        state = {"waiting": {"reason": reason, "message": message}}
        self._set(pod, "Pending", [_condition("Ready", False)], state)

    # Running and after

    def running(self, pod: str) -> None:
        """Report that the container runs."""
        self.schedule(pod)
        self._set(pod, "Running", [_condition("Ready", True)], {"running": {"startedAt": _now()}})

    def succeeded(self, pod: str) -> None:
        """Report that the container ended with exit code 0."""
        self.schedule(pod)
        self._set(pod, "Succeeded", [_condition("Ready", False)], _ended(0, "Completed"))

    def failed(self, pod: str, exit_code: int = 1, reason: str = "Error") -> None:
        """Report a failed container: OOMKilled with 137, ContainerCannotRun with 128, …"""
        self.schedule(pod)
        self._set(pod, "Failed", [_condition("Ready", False)], _ended(exit_code, reason))

    def evicted(self, pod: str, message: str = "The node was low on resource: memory.") -> None:
        """Report an eviction by the kubelet, whose node is short of a resource."""
        self._disrupted(pod, "Evicted", "TerminationByKubelet", message)

    def preempted(self, pod: str, message: str = "Preempted in order to admit a pod.") -> None:
        """Report a preemption by the scheduler."""
        self._disrupted(pod, "Preempting", "PreemptionByScheduler", message)

    def node_lost(self, pod: str) -> None:
        """Report a pod of a lost node, as the pod garbage collector does."""
        self._disrupted(pod, "NodeLost", "DeletionByPodGC", "PodGC: node no longer exists")

    def evict(self, pod: str) -> None:
        """Request an eviction, as `kubectl drain` does; `remove` then ends the pod."""
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        self._api.request("POST", f"{self._pods}/{pod}/eviction", body)

    def remove(self, pod: str) -> None:
        """Delete the pod at once, as a kubelet does after its containers ended."""
        try:
            self._api.request("DELETE", f"{self._pods}/{pod}", {"gracePeriodSeconds": 0})
        except Refused as refusal:
            if refusal.status != 404:
                raise

    def remove_terminating(self) -> list[str]:
        """Remove deleted pods that wait for a kubelet; returns their names."""
        found = [pod["metadata"] for pod in self.pods() if "deletionTimestamp" in pod["metadata"]]
        for meta in found:
            self.remove(meta["name"])
        return [meta["name"] for meta in found]

    def remove_job(self, job: str) -> None:
        """Wait until a deleted job is gone; its pods are removed when they are terminating."""

        def gone() -> bool:
            self.remove_terminating()
            return self._api.find(f"{self._job}/{job}") is None

        until(gone, lambda: f"job {job} still exists")

    def wait_for_job(self, job: str, condition: str) -> Any:
        """Wait until the job has a condition: Complete, Failed, FailureTarget, …"""

        def reached() -> Any:
            found = self._api.request("GET", f"{self._job}/{job}")
            conditions = found.get("status", {}).get("conditions", [])
            holds = any(c["type"] == condition and c["status"] == "True" for c in conditions)
            return found if holds else None

        return until(reached, lambda: f"job {job} is not {condition}")

    def _disrupted(self, pod: str, reason: str, target_reason: str, message: str) -> None:
        self.schedule(pod)
        target = _condition("DisruptionTarget", True, target_reason, message)
        about = {"reason": reason, "message": message}
        self._set(pod, "Failed", [target], _ended(137, "Error"), **about)

    def _set(
        self,
        pod: str,
        phase: str,
        conditions: list[dict[str, Any]],
        state: dict[str, Any] | None = None,
        **more: str,
    ) -> None:
        found = self._api.request("GET", f"{self._pods}/{pod}")
        assert found["spec"]["schedulerName"] == SCHEDULER, "a scheduler would move this pod"
        kept = {c["type"]: c for c in found["status"].get("conditions", [])}
        kept |= {c["type"]: c for c in conditions}
        status: dict[str, Any] = {"phase": phase, "conditions": list(kept.values()), **more}
        if phase != "Pending":
            status["startTime"] = found["status"].get("startTime") or _now()
        if state:
            containers = found["spec"]["containers"]
            status["containerStatuses"] = [_container(each, state) for each in containers]
        self._api.request("PATCH", f"{self._pods}/{pod}/status", {"status": status})


def _container(container: Any, state: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "" if "waiting" in state else "sha256:0",
        "ready": "running" in state,
        "started": "running" in state,
        "restartCount": 0,
        "state": state,
    }


def _ended(exit_code: int, reason: str) -> dict[str, Any]:
    now = _now()
    about = {"exitCode": exit_code, "reason": reason, "startedAt": now, "finishedAt": now}
    return {"terminated": about}


def _condition(kind: str, holds: bool, reason: str = "", message: str = "") -> dict[str, Any]:
    about = {"type": kind, "status": str(holds), "lastTransitionTime": _now()}
    return about | ({"reason": reason, "message": message} if reason else {})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
