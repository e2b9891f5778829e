"""The PostgreSQL database of a stack, and the Secret with its password.

The Secret is applied without a password, and an init container adds one if there is none. So
`kubectl apply` never changes a password that the database has been created with, and no manifest
holds it. The Role of that container allows to read and patch this Secret only.
"""

from __future__ import annotations

from deployctl.core.json_values import Json
from deployctl.manifests.components import (
    PASSWORD_KEY,
    UNPRIVILEGED,
    Component,
    StackSettings,
    variable,
)
from deployctl.manifests.pod import image
from deployctl.manifests.settings import WorkerManifest

NAME = "prefect-database"
PORT = 5432
USER = "prefect"
"""The name of the user and of the database."""
_IMAGE = "postgres:17"
_UID = 999
"""The user `postgres` of the image."""
_RBAC = "rbac.authorization.k8s.io"
_DATA = "/var/lib/postgresql/data"


def database_objects(worker: WorkerManifest, settings: StackSettings) -> list[Json]:
    """The objects of the database, in the order in which they are applied."""
    part = Component(worker, settings, NAME, _UID)
    access = [] if settings.password_secret else _password_objects(part)
    return [*access, part.service(PORT), _stateful_set(part)]


def password_reference(settings: StackSettings) -> Json:
    """Where the password is: name and key of the Secret."""
    return {"name": settings.password_secret or NAME, "key": PASSWORD_KEY}


def _password_objects(part: Component) -> list[Json]:
    """The Secret without a password, and what lets the init container add one."""
    rule = {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": [NAME],
        "verbs": ["get", "patch"],
    }
    reference = {"apiGroup": _RBAC, "kind": "Role", "name": NAME}
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": part.worker.namespace}
    return [
        part.object("v1", "Secret") | {"type": "Opaque"},
        part.object("v1", "ServiceAccount"),
        part.object(f"{_RBAC}/v1", "Role") | {"rules": [rule]},
        part.object(f"{_RBAC}/v1", "RoleBinding") | {"roleRef": reference, "subjects": [subject]},
    ]


def _stateful_set(part: Component) -> Json:
    settings = part.settings
    claim: dict[str, Json] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": settings.storage}},
    }
    if settings.storage_class:
        claim["storageClassName"] = settings.storage_class
    pod: dict[str, Json] = {
        "containers": [_container(part)],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    }
    if settings.password_secret:
        pod["automountServiceAccountToken"] = False
    else:
        pod |= {"serviceAccountName": NAME, "initContainers": [_password_container(part)]}
    return part.workload(
        "StatefulSet",
        pod,
        serviceName=NAME,
        volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": claim}],
    )


def _container(part: Component) -> Json:
    ready = ["pg_isready", "--quiet", "--host", "127.0.0.1", "--username", USER]
    check = {"exec": {"command": ready}, "timeoutSeconds": 5}
    return {
        "name": "postgres",
        "image": part.settings.database_image or _IMAGE,
        "env": [
            variable("POSTGRES_USER", USER),
            variable("POSTGRES_DB", USER),
            variable("POSTGRES_PASSWORD", password_reference(part.settings)),
            variable("PGDATA", f"{_DATA}/pgdata"),
        ],
        "ports": [{"name": "database", "containerPort": PORT}],
        "startupProbe": check | {"periodSeconds": 2, "failureThreshold": 1800},
        "readinessProbe": check | {"periodSeconds": 5},
        "livenessProbe": check | {"periodSeconds": 10, "failureThreshold": 6},
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "securityContext": dict(UNPRIVILEGED),
        "volumeMounts": [
            {"name": "data", "mountPath": _DATA},
            {"name": "scratch", "mountPath": "/var/run/postgresql", "subPath": "run"},
            {"name": "scratch", "mountPath": "/tmp", "subPath": "tmp"},
        ],
    }


def _password_container(part: Component) -> Json:
    values = part.worker.values["worker"]
    return {
        "name": "password",
        "image": image(values["image"]),
        "imagePullPolicy": values["image"]["pullPolicy"],
        "command": ["deployctl"],
        "args": ["manifests", "password", "--secret", NAME],
        "env": [variable("HOME", "/tmp")],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "securityContext": dict(UNPRIVILEGED),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp", "subPath": "tmp"}],
    }
