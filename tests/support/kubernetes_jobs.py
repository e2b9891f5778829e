"""Job specs for a Kubernetes runtime, and the runtime connected to a real API server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deployctl.clients import kubeconfig
from deployctl.clients.kubernetes import KubeClient
from deployctl.core.json_values import Json
from deployctl.jobs.model import JobSpec, Limits
from deployctl.jobs.rbac import Rule
from deployctl.worker.event_log import Level
from deployctl.worker.runtimes.kubernetes.runtime import KubernetesRuntime, SharedClusters
from deployctl.worker.settings import KubernetesSettings
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.pods import SCHEDULER
from tests.support.waiting import until

API_KEY = "the-api-key"
JOBS_PATH = "/jobs$"
"""Requests that create or list Jobs, as a pattern for a proxy's faults."""
POD = {"schedulerName": SCHEDULER, "containers": [{"name": "prefect-job", "image": "flow"}]}


class RecordingEventLog:
    """`EventLog` that records its entries."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.entries: list[tuple[Level, str, str]] = []
        self.facts: list[Mapping[str, Json]] = []
        """Of each entry."""

    def emit(self, level: Level, event: str, message: str = "", **facts: Json) -> None:
        with self._lock:
            self.entries.append((level, event, message))
            self.facts.append(facts)

    @property
    def warnings(self) -> list[str]:
        """The event names of all warnings, in order."""
        return [event for level, event, _ in self.entries if level is Level.WARNING]


def jobs(plane: Cluster, namespace: str) -> list[Any]:
    """All Jobs of a namespace."""
    return plane.admin.items(f"/apis/batch/v1/namespaces/{namespace}/jobs")


def secrets(plane: Cluster, namespace: str) -> list[Any]:
    """All Secrets of a namespace."""
    return plane.admin.items(f"/api/v1/namespaces/{namespace}/secrets")


def rules(*rules_: Rule) -> list[dict[str, Json]]:
    """RBAC rules as the `rules` of a Role."""
    return [each.rule() for each in rules_]


def job_spec(namespace: str, attempt: str = "attempt-1", **changes: Any) -> JobSpec:
    """A job spec named after its attempt; `pool` is the namespace unless it is changed."""
    manifest = {"spec": {"backoffLimit": 0, "template": {"spec": POD}}} | changes.pop(
        "manifest", {}
    )
    fields: dict[str, Any] = {
        "run": f"run-of-{attempt}",
        "attempt": attempt,
        "pool": namespace,
        "name": f"job-{attempt}",
        "worker": "w",
        "configuration": {"namespace": namespace, "job_manifest": manifest}
        | changes.pop("configuration", {}),
        "command": ("prefect", "flow-run", "execute"),
        "env": {"PREFECT_API_URL": "http://server/api", "PREFECT_API_KEY": API_KEY},
        "secret_env": frozenset({"PREFECT_API_KEY"}),
        "limits": Limits(),
        "server_version": "3.9.1",
    }
    return JobSpec(**{**fields, **changes})


def quota(plane: Cluster, namespace: str, hard: Json) -> None:
    """Create a quota in a namespace; returns when the cluster enforces it."""
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    plane.request("POST", path, {"metadata": {"name": "small"}, "spec": {"hard": hard}})
    until(
        lambda: plane.request("GET", f"{path}/small").get("status", {}).get("hard") == hard,
        lambda: "the quota is not enforced",
    )


@contextmanager
def runtime(
    config: Path,
    pool: str,
    *,
    event_log: RecordingEventLog | None = None,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[KubernetesRuntime]:
    """The runtime in the cluster of a kubeconfig; its connections are closed at the end."""
    opened: list[KubeClient] = []

    def connect(cluster: Mapping[str, Json] | None) -> KubeClient:
        kube = (
            kubeconfig.connect(str(config))
            if cluster is None
            else kubeconfig.connect_with_config(cluster["config"], cluster.get("context_name"))
        )
        opened.append(kube)
        return kube

    try:
        log = event_log or RecordingEventLog()
        sleep = options.pop("sleep", time.sleep)
        shared = SharedClusters(
            connect,
            KubernetesSettings(**(settings or {})),
            log,
            **{"major": 3, **options},
        )
        yield KubernetesRuntime(shared, pool, log, sleep=sleep)
    finally:
        for kube in opened:
            kube.close()
