"""What the parts of a stack share: its settings, and the names, labels and pods of a part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deployctl.core.json_values import Json
from deployctl.manifests.pod import without_empty
from deployctl.manifests.settings import WorkerManifest

PASSWORD_KEY = "password"
"""The key of the database's password in its Secret."""


@dataclass(frozen=True, slots=True)
class StackSettings:
    """What a stack has besides its worker."""

    prefect: int = 3
    """Major version of the server."""
    server_image: str = ""
    database_image: str = ""
    password_secret: str = ""
    """A Secret that exists; if empty, the stack has one, whose password is generated once."""
    project_image: str = ""
    """The image whose project is deployed before a worker starts; if empty, nothing is."""
    node_port: int | None = None
    storage: str = "10Gi"
    storage_class: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """A part of a stack: the database or the server."""

    worker: WorkerManifest
    settings: StackSettings
    name: str
    """The name of its objects."""
    user: int
    """The user id of its pods."""

    @property
    def selector(self) -> dict[str, str]:
        """The labels that select its pods."""
        return {
            "app.kubernetes.io/name": self.name,
            "app.kubernetes.io/component": self.name.rpartition("-")[2],
        }

    def object(self, version: str, kind: str, *, name: str = "") -> dict[str, Json]:
        """An object with the common metadata; its name is that of the component by default."""
        return self.worker.object(version, kind, name=name or self.name, selector=self.selector)

    def service(self, port: int, **more: Json) -> Json:
        """The Service of its pods, whose container has a port of the component's name."""
        name = self.selector["app.kubernetes.io/component"]
        ports = [{"name": name, "port": port, "targetPort": name, **more.pop("ports", {})}]
        return self.object("v1", "Service") | {
            "spec": {**more, "selector": self.selector, "ports": ports}
        }

    def workload(self, kind: str, pod: Mapping[str, Json], **spec: Json) -> Json:
        """A Deployment or StatefulSet with one replica of a pod that is not root."""
        workload = self.object("apps/v1", kind)
        pull_secrets = self.worker.values["worker"]["image"]["pullSecrets"]
        common = {
            "imagePullSecrets": [{"name": name} for name in pull_secrets],
            # Variables such as PREFECT_SERVER_PORT=tcp://… would look like settings.
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": self.user,
                "runAsGroup": self.user,
                "fsGroup": self.user,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }
        return workload | {
            "spec": {
                "replicas": 1,
                **spec,
                "selector": {"matchLabels": self.selector},
                "template": {
                    "metadata": {"labels": workload["metadata"]["labels"]},
                    "spec": without_empty({**common, **pod}),
                },
            }
        }


UNPRIVILEGED: Mapping[str, Json] = {
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
"""The security context of a container."""


def variable(name: str, value: Json) -> Json:
    """A variable of a container: a text, or a key of a Secret as a mapping."""
    if isinstance(value, Mapping):
        return {"name": name, "valueFrom": {"secretKeyRef": dict(value)}}
    return {"name": name, "value": value}
