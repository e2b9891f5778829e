"""Stacks and what their manifests must contain; every rendering is sent to a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deployctl.core.json_values import Json
from deployctl.manifests.components import StackSettings
from deployctl.manifests.stack import stack_objects, stack_values
from deployctl.manifests.values import default_values, merged

DATABASE = "StatefulSet/prefect-database.spec.template.spec"
SERVER = "Deployment/prefect-server.spec.template.spec"
WORKER = "Deployment/deployctl-worker-my-pool.spec.template.spec"


@dataclass(frozen=True, slots=True)
class StackCase:
    """A stack, and the values of its worker; paths as in `manifest_cases.at`."""

    id: str
    settings: StackSettings
    expected: Mapping[str, Json]
    values: Mapping[str, Json] = field(default_factory=dict)

    def render(self) -> list[Json]:
        """The objects of the stack."""
        base = merged(default_values(), {"worker": {"config": {"workPool": "my-pool"}}})
        return stack_objects(stack_values(merged(base, self.values)), self.settings)


STACK_CASES = [
    StackCase(
        "defaults",
        StackSettings(),
        {
            "Secret/prefect-database.data": None,
            "Secret/prefect-database.stringData": None,
            "Role/prefect-database.rules.0.resourceNames": ["prefect-database"],
            "Role/prefect-database.rules.0.verbs": ["get", "patch"],
            f"{DATABASE}.containers.0.image": "postgres:17",
            f"{DATABASE}.containers.0.securityContext.readOnlyRootFilesystem": True,
            f"{DATABASE}.securityContext.runAsUser": 999,
            f"{DATABASE}.initContainers.0.args": [
                *("manifests", "password", "--secret", "prefect-database")
            ],
            f"{DATABASE}.containers.0.env.2.valueFrom.secretKeyRef": {
                "name": "prefect-database",
                "key": "password",
            },
            f"{SERVER}.containers.0.image": "prefecthq/prefect:3-python3.11",
            f"{SERVER}.containers.0.securityContext.readOnlyRootFilesystem": True,
            f"{SERVER}.containers.0.startupProbe.httpGet.path": "/api/health",
            f"{SERVER}.containers.0.readinessProbe.httpGet.path": "/api/ready",
            f"{SERVER}.securityContext.runAsUser": 1001,
            f"{SERVER}.automountServiceAccountToken": False,
            "Service/prefect-server.spec.type": None,
            "Service/prefect-server.spec.ports.0.port": 4200,
            "Service/prefect-server.spec.selector": {
                "app.kubernetes.io/name": "prefect-server",
                "app.kubernetes.io/component": "server",
            },
            f"{WORKER}.initContainers": None,
            f"{WORKER}.containers.0.env.5.value": "http://prefect-server.default.svc:4200/api",
        },
    ),
    StackCase(
        "Prefect 2",
        StackSettings(prefect=2),
        {
            f"{SERVER}.containers.0.image": "prefecthq/prefect:2-python3.11",
            f"{SERVER}.containers.0.env.5.value": (
                "postgresql+asyncpg://prefect:${PREFECT_API_DATABASE_PASSWORD}"
                "@prefect-database:5432/prefect"
            ),
        },
    ),
    StackCase(
        "existing password",
        StackSettings(password_secret="pw"),
        {
            "Secret": None,
            "Role/prefect-database": None,
            "ServiceAccount/prefect-database": None,
            f"{DATABASE}.initContainers": None,
            f"{DATABASE}.automountServiceAccountToken": False,
            f"{DATABASE}.containers.0.env.2.valueFrom.secretKeyRef.name": "pw",
            f"{SERVER}.containers.0.env.9.valueFrom.secretKeyRef.name": "pw",
        },
    ),
    StackCase(
        "images, port and storage",
        StackSettings(
            server_image="r.example.com/server:1",
            database_image="r.example.com/postgres:1",
            node_port=30420,
            storage="1Gi",
            storage_class="fast",
        ),
        {
            f"{DATABASE}.containers.0.image": "r.example.com/postgres:1",
            f"{DATABASE}.imagePullSecrets": [{"name": "pull"}],
            f"{SERVER}.containers.0.image": "r.example.com/server:1",
            f"{SERVER}.imagePullSecrets": [{"name": "pull"}],
            "Service/prefect-server.spec.type": "NodePort",
            "Service/prefect-server.spec.ports.0.nodePort": 30420,
            "StatefulSet.spec.volumeClaimTemplates.0.spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "fast",
            },
        },
        {"worker": {"image": {"pullSecrets": ["pull"]}}},
    ),
    StackCase(
        "project",
        StackSettings(project_image="etl:1"),
        {
            f"{WORKER}.initContainers.0.name": "first",
            f"{WORKER}.initContainers.1.image": "etl:1",
            f"{WORKER}.initContainers.1.args": [
                *("deploy", "--all", "--create-pools", "--wait-for-api", "600", "--timeout", "900")
            ],
            f"{WORKER}.initContainers.1.env.0": {"name": "HOME", "value": "/tmp"},
            f"{WORKER}.initContainers.1.env.5.value": "http://api/api",
            f"{WORKER}.initContainers.1.securityContext.readOnlyRootFilesystem": True,
        },
        {
            "worker": {
                "initContainer": {"extraContainers": [{"name": "first", "image": "i"}]},
                "selfHostedServerApiConfig": {"apiUrl": "http://api/api"},
            }
        },
    ),
    StackCase(
        "authentication, names and a namespace",
        StackSettings(),
        {
            f"{SERVER}.containers.0.env.10.valueFrom.secretKeyRef": {
                "name": "auth",
                "key": "auth-string",
            },
            "Deployment/w.spec.template.spec.containers.0.env.5.value": (
                "http://prefect-server.kube-public.svc:4200/api"
            ),
            "Secret.metadata.namespace": "kube-public",
            "RoleBinding/prefect-database.subjects.0.namespace": "kube-public",
            "StatefulSet.metadata.labels.team": "data",
            "StatefulSet.metadata.annotations.note": "x",
        },
        {
            "namespaceOverride": "kube-public",
            "fullnameOverride": "w",
            "commonLabels": {"team": "data"},
            "commonAnnotations": {"note": "x"},
            "worker": {
                "selfHostedServerApiConfig": {
                    "basicAuth": {"enabled": True, "existingSecret": "auth"}
                }
            },
        },
    ),
]
