"""Jobs for a Kubernetes runtime to run, and the runtime in front of a real API server."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deployctl.clients import kubeconfig
from deployctl.clients.kubernetes import Kube
from deployctl.core.json_values import Json
from deployctl.jobs.model import JobSpec, Limits
from deployctl.worker.event_log import Level
from deployctl.worker.runtimes.kubernetes.rbac import Rule
from deployctl.worker.runtimes.kubernetes.runtime import KubernetesRuntime
from deployctl.worker.settings import KubernetesSettings
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.pods import SCHEDULER
from tests.support.waiting import until

API_KEY = "the-api-key"
POD = {"schedulerName": SCHEDULER, "containers": [{"name": "prefect-job", "image": "flow"}]}


class Notes:
    """A journal that keeps what it is told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.told: list[tuple[Level, str, str]] = []

    def emit(self, level: Level, event: str, message: str = "", **_facts: Json) -> None:
        with self._lock:
            self.told.append((level, event, message))

    @property
    def warnings(self) -> list[str]:
        """The events of all warnings, in order."""
        return [event for level, event, _ in self.told if level is Level.WARNING]


def rules(*rights: Rule) -> list[dict[str, Json]]:
    """Rights as the rules of a Role."""
    return [right.rule() for right in rights]


def described(namespace: str, attempt: str = "attempt-1", **changes: Any) -> JobSpec:
    """A job whose name begins with its attempt; `pool` is the namespace unless it is changed."""
    manifest = {"spec": {"backoffLimit": 0, "template": {"spec": POD}}} | changes.pop(
        "manifest", {}
    )
    given: dict[str, Any] = {
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
        "server_version": "3.8.8",
    }
    return JobSpec(**{**given, **changes})


def quota(plane: Cluster, namespace: str, hard: Json) -> None:
    """A quota of a namespace that the cluster has counted, so that it holds."""
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    plane.request("POST", path, {"metadata": {"name": "small"}, "spec": {"hard": hard}})
    until(
        lambda: plane.request("GET", f"{path}/small").get("status", {}).get("hard") == hard,
        lambda: "the quota is not counted",
    )


@contextmanager
def runtime(
    config: Path,
    pool: str,
    *,
    notes: Notes | None = None,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[KubernetesRuntime]:
    """The runtime with the cluster of a kubeconfig for its own; all its connections are closed."""
    opened: list[Kube] = []

    def connect(cluster: Mapping[str, Json] | None) -> Kube:
        kube = (
            kubeconfig.connect(str(config))
            if cluster is None
            else kubeconfig.connect_with_config(cluster["config"], cluster.get("context_name"))
        )
        opened.append(kube)
        return kube

    try:
        yield KubernetesRuntime(
            connect,
            pool,
            KubernetesSettings(**(settings or {})),
            notes or Notes(),
            **{"major": 3, **options},
        )
    finally:
        for kube in opened:
            kube.close()
