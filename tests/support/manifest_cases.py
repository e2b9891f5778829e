"""Values of a worker and what its manifests must contain; every rendering is sent to a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from deployctl import __version__
from deployctl.core.json_values import Json
from deployctl.manifests.values import default_values, merged, with_current_names
from deployctl.manifests.worker import worker_objects

BASE = {
    "worker": {
        "config": {"workPool": "my-pool"},
        "selfHostedServerApiConfig": {"apiUrl": "http://prefect:4200/api"},
    }
}
CONTAINER = "Deployment.spec.template.spec.containers.0"
POD = "Deployment.spec.template.spec"


@dataclass(frozen=True, slots=True)
class Case:
    """`values` on top of BASE; dotted paths of the objects, which begin with the kind, → value.

    None: there is nothing at the path.
    """

    id: str
    values: Mapping[str, Json]
    expected: Mapping[str, Json]


def render(values: Mapping[str, Json]) -> list[Json]:
    """The objects of BASE with `values`."""
    return worker_objects(merged(merged(default_values(), BASE), with_current_names(values)))


def variable(name: str, objects: Sequence[Json]) -> Json:
    """A variable of the worker's environment: its text or its `valueFrom`."""
    for each in at(objects, f"{CONTAINER}.env"):
        if each["name"] == name:
            return each.get("value", each.get("valueFrom"))
    return None


def at(objects: Sequence[Json], path: str) -> Json:
    """The value at a path in the first object of its kind; None if there is none.

    `env:NAME` is the variable of this name; `Deployment/NAME.spec` is in the object of this name.
    """
    if path.startswith("env:"):
        return variable(path.removeprefix("env:"), objects)
    first, *keys = path.split(".")
    kind, _, name = first.partition("/")
    named = (
        each for each in objects if each["metadata"]["name"] == (name or each["metadata"]["name"])
    )
    found: Json = next((each for each in named if each["kind"] == kind), None)
    for key in keys:
        if isinstance(found, list):
            found = found[int(key)] if int(key) < len(found) else None
        else:
            found = found.get(key) if found else None
    return found


def _worker(**values: Json) -> dict[str, Json]:
    return {"worker": values}


_KEY = {"secretKeyRef": {"name": "prefect-api-key", "key": "key"}}
_CLOUD = {"accountId": "A", "workspaceId": "W"}
_SECRET_NAME = "env:PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_KEY_SECRET_NAME"
_OBSERVED = "env:PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES"

CASES = [
    Case(
        "defaults",
        {},
        {
            "Deployment.metadata.name": "deployctl-worker-my-pool",
            "Deployment.metadata.namespace": "default",
            "Deployment.spec.replicas": 1,
            f"{CONTAINER}.args": [
                *("worker", "--pool", "my-pool", "--type", "kubernetes", "--with-healthcheck")
            ],
            f"{CONTAINER}.livenessProbe.httpGet.path": "/health",
            f"{CONTAINER}.readinessProbe.httpGet.path": "/ready",
            f"{CONTAINER}.livenessProbe.timeoutSeconds": 5,
            f"{CONTAINER}.livenessProbe.failureThreshold": 6,
            f"{CONTAINER}.readinessProbe.timeoutSeconds": 5,
            f"{CONTAINER}.startupProbe": None,
            f"{CONTAINER}.securityContext.readOnlyRootFilesystem": True,
            f"{POD}.securityContext.runAsUser": 1001,
            "env:PREFECT_API_URL": "http://prefect:4200/api",
            "env:PREFECT_API_KEY": None,
            _OBSERVED: "default",
            "ClusterRole": None,
            "HorizontalPodAutoscaler": None,
            "NetworkPolicy": None,
        },
    ),
    Case(
        "names",
        {
            "fullnameOverride": "w",
            "nameOverride": "n",
            "namespaceOverride": "default",
            "commonLabels": {"team": "data"},
            "commonAnnotations": {"note": "x"},
        },
        {
            "Deployment.metadata.name": "w",
            "ServiceAccount.metadata.labels.team": "data",
            "Role.metadata.annotations.note": "x",
            "Deployment.spec.selector.matchLabels": {
                "app.kubernetes.io/name": "n",
                "app.kubernetes.io/instance": "w",
                "app.kubernetes.io/component": "worker",
            },
        },
    ),
    Case(
        "pool whose name objects cannot have",
        _worker(config={"workPool": "My Pool"}),
        {"Deployment.metadata.name": "deployctl-worker-my-pool-4b953553"},
    ),
    Case(
        "pool whose name is too long",
        _worker(config={"workPool": "ppppppppppppppppppppppppppppppppppppppppppppppp"}),
        {"Deployment.metadata.name": f"deployctl-worker-{'p' * 37}-b2d8358c"},
    ),
    Case(
        "pool without Latin letters",
        _worker(config={"workPool": "生產"}),
        {"Deployment.metadata.name": "deployctl-worker-e8effa9d"},
    ),
    Case(
        "labels of the selector",
        {
            "commonLabels": {"app.kubernetes.io/name": "other", "a": "common"},
            "worker": {"podLabels": {"app.kubernetes.io/component": "other", "a": "pod"}},
        },
        {
            "Deployment.spec.template.metadata.labels": {
                "app.kubernetes.io/name": "deployctl-worker",
                "app.kubernetes.io/instance": "deployctl-worker-my-pool",
                "app.kubernetes.io/component": "worker",
                "app.kubernetes.io/version": __version__,
                "a": "pod",
            }
        },
    ),
    Case(
        "cloud",
        _worker(apiConfig="cloud", cloudApiConfig=_CLOUD),
        {
            "env:PREFECT_API_URL": "https://api.prefect.cloud/api/accounts/A/workspaces/W",
            "env:PREFECT_API_KEY": _KEY,
            _SECRET_NAME: "prefect-api-key",
        },
    ),
    Case(
        "cloud, key in a Secret of the worker",
        _worker(apiConfig="cloud", cloudApiConfig=_CLOUD | {"jobApiKeyPropagation": "autoSecret"}),
        {
            _SECRET_NAME: None,
            "env:PREFECT_INTEGRATIONS_KUBERNETES_WORKER_CREATE_SECRET_FOR_API_KEY": "true",
        },
    ),
    Case(
        "cloud, key as a value",
        _worker(apiConfig="cloud", cloudApiConfig=_CLOUD | {"jobApiKeyPropagation": "envVar"}),
        {
            _SECRET_NAME: None,
            "env:PREFECT_INTEGRATIONS_KUBERNETES_WORKER_CREATE_SECRET_FOR_API_KEY": None,
        },
    ),
    Case(
        "customer-managed cloud, old names",
        _worker(
            apiConfig="selfHosted",
            selfHostedCloudApiConfig=_CLOUD
            | {"apiUrl": "https://p/api/", "cloudApiUrl": "https://c", "cloudUiUrl": "https://u"},
        ),
        {
            "env:PREFECT_API_URL": "https://p/api/accounts/A/workspaces/W",
            "env:PREFECT_API_KEY": _KEY,
            "env:PREFECT_CLOUD_API_URL": "https://c",
            "env:PREFECT_CLOUD_UI_URL": "https://u",
        },
    ),
    Case(
        "server, old names",
        _worker(
            apiConfig="server",
            serverApiConfig={"apiUrl": "http://old/api"},
            basicAuth={"enabled": True, "existingSecret": "auth"},
        ),
        {
            "env:PREFECT_API_URL": "http://old/api",
            "env:PREFECT_API_AUTH_STRING": {"secretKeyRef": {"name": "auth", "key": "auth-string"}},
            "env:PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_KEY": "auth-string",
        },
    ),
    Case(
        "configuration",
        _worker(
            config={
                "workQueues": ["a", "b"],
                "limit": 3,
                "name": "w1",
                "queryInterval": 2.5,
                "http2": False,
            },
            clusterUid="c1",
            extraArgs=["--log-format", "json"],
        ),
        {
            f"{CONTAINER}.args": [
                *("worker", "--pool", "my-pool", "--type", "kubernetes"),
                *("--work-queue", "a", "--work-queue", "b", "--limit", "3", "--name", "w1"),
                *("--with-healthcheck", "--log-format", "json"),
            ],
            "env:PREFECT_WORKER_QUERY_SECONDS": "2.5",
            "env:PREFECT_API_ENABLE_HTTP2": "false",
            "env:PREFECT_KUBERNETES_CLUSTER_UID": "c1",
        },
    ),
    Case(
        "image",
        _worker(
            image={
                "repository": "r.example.com/d",
                "prefectTag": "1",
                "pullPolicy": "Always",
                "pullSecrets": ["s"],
            }
        ),
        {
            f"{CONTAINER}.image": "r.example.com/d:1",
            f"{CONTAINER}.imagePullPolicy": "Always",
            f"{POD}.imagePullSecrets": [{"name": "s"}],
        },
    ),
    Case(
        "image by digest",
        _worker(image={"repository": f"r.example.com/d@sha256:{'0' * 64}"}),
        {f"{CONTAINER}.image": f"r.example.com/d@sha256:{'0' * 64}"},
    ),
    Case(
        "base job template",
        _worker(config={"baseJobTemplate": {"configuration": '{"variables": {}}'}}),
        {
            "ConfigMap.data": {"baseJobTemplate.json": '{"variables": {}}'},
            f"{CONTAINER}.args.5": "--base-job-template",
            f"{CONTAINER}.volumeMounts.2.mountPath": "/etc/deployctl/baseJobTemplate.json",
            "Deployment.spec.template.metadata.annotations": {
                "checksum/config": sha256(b'{"variables": {}}').hexdigest()
            },
        },
    ),
    Case(
        "existing base job template",
        _worker(config={"baseJobTemplate": {"existingConfigMapName": "t"}}),
        {"ConfigMap": None, f"{POD}.volumes.1.configMap.name": "t"},
    ),
    Case(
        "namespaces with Jobs",
        _worker(config={"jobNamespace": "default, kube-public"}),
        {_OBSERVED: "default,kube-public", "Role.metadata.namespace": "default"},
    ),
    Case(
        "whole cluster",
        _worker(config={"observerClusterWide": True}),
        {
            _OBSERVED: None,
            "ClusterRole.metadata.name": "default-deployctl-worker-my-pool",
            "ClusterRole.metadata.namespace": None,
            "ClusterRoleBinding.subjects.0.namespace": "default",
            "Role.rules.0.resources": ["leases"],
        },
    ),
    Case(
        "existing access",
        {
            "serviceAccount": {"create": False, "name": "shared"},
            "role": {"create": False},
            "rolebinding": {"create": False},
        },
        {
            "ServiceAccount": None,
            "Role": None,
            "RoleBinding": None,
            f"{POD}.serviceAccountName": "shared",
        },
    ),
    Case(
        "access with extras",
        {
            "serviceAccount": {"annotations": {"a": "b"}},
            "role": {
                "extraPermissions": [
                    {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]}
                ]
            },
        },
        {"ServiceAccount.metadata.annotations": {"a": "b"}, "Role.rules.6.verbs": ["get"]},
    ),
    Case(
        "scaling",
        _worker(
            autoscaling={"enabled": True, "targetMemoryUtilizationPercentage": 70},
            podDisruptionBudget={"minAvailable": 1},
        ),
        {
            "Deployment.spec.replicas": None,
            "HorizontalPodAutoscaler.spec.maxReplicas": 10,
            "HorizontalPodAutoscaler.spec.metrics.1.resource.name": "memory",
            "PodDisruptionBudget.spec.minAvailable": 1,
        },
    ),
    Case(
        "metrics",
        _worker(metrics={"podAnnotations": True, "service": True}, networkPolicy={"enabled": True}),
        {
            "Deployment.spec.template.metadata.annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": "8080",
                "prometheus.io/path": "/metrics",
            },
            "Service.spec.ports.0.port": 8080,
            "NetworkPolicy.spec.policyTypes": ["Ingress", "Egress"],
        },
    ),
    Case(
        "pod",
        _worker(
            replicaCount=3,
            revisionHistoryLimit=2,
            strategy={"rollingUpdate": {"maxSurge": 1}},
            priorityClassName="high",
            terminationGracePeriodSeconds=60,
            nodeSelector={"disk": "ssd"},
            tolerations=[{"key": "gpu", "operator": "Exists"}],
            topologySpreadConstraints=[
                {
                    "maxSkew": 1,
                    "topologyKey": "zone",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {},
                }
            ],
            dnsPolicy="None",
            dnsConfig={"nameservers": ["10.0.0.1"]},
            podLabels={"l": "v"},
            podAnnotations={"a": "v"},
            lifecycle={"postStart": {"exec": {"command": ["deployctl", "deploy", "--all"]}}},
            startupProbe={"enabled": True, "config": {"failureThreshold": 30}},
            livenessProbe={"enabled": False},
            extraEnvVars=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
            extraEnvVarsCM="c1",
            extraEnvVarsSecrets=["s1", "s2"],
            extraContainers=[{"name": "side", "image": "i"}],
            initContainer={"extraContainers": [{"name": "deploy", "image": "i"}]},
            extraVolumes=[{"name": "v", "emptyDir": {}}],
            extraVolumeMounts=[{"name": "v", "mountPath": "/v"}],
        ),
        {
            "Deployment.spec.replicas": 3,
            "Deployment.spec.strategy.rollingUpdate.maxSurge": 1,
            "Deployment.spec.template.metadata.labels.l": "v",
            f"{POD}.initContainers.0.name": "deploy",
            f"{POD}.containers.1.name": "side",
            f"{POD}.terminationGracePeriodSeconds": 60,
            f"{POD}.dnsPolicy": "None",
            f"{CONTAINER}.livenessProbe": None,
            f"{CONTAINER}.startupProbe.failureThreshold": 30,
            f"{CONTAINER}.envFrom": [
                {"configMapRef": {"name": "c1"}},
                {"secretRef": {"name": "s1"}},
                {"secretRef": {"name": "s2"}},
            ],
            "env:A": {"fieldRef": {"fieldPath": "spec.nodeName"}},
        },
    ),
    Case(
        "command of their own",
        _worker(command=["tini", "--"], args=["deployctl", "worker", "-p", "p"]),
        {
            f"{CONTAINER}.command": ["tini", "--"],
            f"{CONTAINER}.args": ["deployctl", "worker", "-p", "p"],
        },
    ),
]
