"""The objects of a worker as the official prefect-worker chart renders them, in our own words.

With its default values, a base job template, a liveness probe and a self-hosted server.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

_TEMPLATE = "/home/prefect/baseJobTemplate.json"
_SYNC = """\
if prefect work-pool inspect "$WORK_POOL"; then
  prefect work-pool update --base-job-template {} "$WORK_POOL"
else
  echo "the worker creates the work pool"
fi
"""
_READ = ["get", "watch", "list"]
_RULES = [
    {
        "apiGroups": [""],
        "resources": ["events", "pods", "pods/log", "pods/status"],
        "verbs": _READ,
    },
    {
        "apiGroups": ["batch"],
        "resources": ["jobs"],
        "verbs": [*_READ, "create", "update", "patch", "delete"],
    },
]


def chart_worker(namespace: str, pool: str, api_url: str, image: str, template: Any) -> Any:
    """A List of the ServiceAccount, Role, RoleBinding, ConfigMap and Deployment."""
    content = json.dumps(template, indent=2)
    labels = {
        "app.kubernetes.io/name": "prefect-worker",
        "app.kubernetes.io/instance": "prefect-worker",
        "app.kubernetes.io/component": "worker",
    }
    rbac = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": "prefect-worker", "namespace": namespace}
    deployment = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {
                "labels": labels,
                "annotations": {"checksum/config": hashlib.sha256(content.encode()).hexdigest()},
            },
            "spec": _pod(namespace, pool, api_url, image),
        },
    }
    parts: list[tuple[str, str, dict[str, Any]]] = [
        ("v1", "ServiceAccount", {}),
        ("v1", "ConfigMap", {"data": {"baseJobTemplate.json": content}}),
        (f"{rbac}/v1", "Role", {"rules": _RULES}),
        (
            f"{rbac}/v1",
            "RoleBinding",
            {
                "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "prefect-worker"},
                "subjects": [subject],
            },
        ),
        ("apps/v1", "Deployment", {"spec": deployment}),
    ]
    metadata = {"name": "prefect-worker", "namespace": namespace, "labels": labels}
    items = [
        {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}
        for version, kind, fields in parts
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _pod(namespace: str, pool: str, api_url: str, image: str) -> Any:
    env = {
        "HOME": "/home/prefect",
        "PREFECT_WORKER_PREFETCH_SECONDS": "10",
        "PREFECT_WORKER_QUERY_SECONDS": "5",
        "PREFECT_API_ENABLE_HTTP2": "true",
        "PREFECT_API_URL": api_url,
        "PREFECT_KUBERNETES_CLUSTER_UID": "",
        "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES": namespace,
        "PREFECT_DEBUG_MODE": "false",
        "WORK_POOL": pool,
    }
    shared = {
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "workingDir": "/home/prefect",
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "resources": {
            "requests": {"memory": "256Mi", "cpu": "100m"},
            "limits": {"memory": "1Gi", "cpu": "1000m"},
        },
        "securityContext": {
            "runAsUser": 1001,
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {},
        },
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/home/prefect", "subPath": "home"},
            {"name": "scratch", "mountPath": "/tmp", "subPath": "tmp"},
            {
                "name": "base-job-template-file",
                "mountPath": _TEMPLATE,
                "subPath": "baseJobTemplate.json",
            },
        ],
    }
    sync = {
        "name": "sync-base-job-template",
        "command": ["/bin/bash", "-c"],
        "args": [_SYNC.format(_TEMPLATE)],
    }
    command = ["prefect", "worker", "start", "--type", "kubernetes", "--pool", pool]
    worker = {
        "name": "prefect-worker",
        "command": ["/usr/bin/tini", "-g", "--", "/opt/prefect/entrypoint.sh"],
        "args": [
            *command,
            "--install-policy",
            "prompt",
            "--base-job-template",
            _TEMPLATE,
            "--with-healthcheck",
        ],
        "livenessProbe": {
            "httpGet": {"path": "/health", "port": 8080},
            "initialDelaySeconds": 10,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
        },
    }
    return {
        "serviceAccountName": "prefect-worker",
        "securityContext": {
            "runAsUser": 1001,
            "runAsNonRoot": True,
            "fsGroup": 1001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [shared | sync],
        "containers": [shared | worker],
        "volumes": [
            {"name": "scratch", "emptyDir": {}},
            {"name": "base-job-template-file", "configMap": {"name": "prefect-worker"}},
        ],
    }
