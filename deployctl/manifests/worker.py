"""All objects of a worker, in the order in which they are applied."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from deployctl.core.json_values import Json
from deployctl.manifests.access import access_objects
from deployctl.manifests.pod import pod_spec, without_empty
from deployctl.manifests.settings import PORT, WorkerManifest

_TEMPLATE_FILE = "baseJobTemplate.json"


def worker_objects(values: Mapping[str, Json]) -> list[Json]:
    """The Kubernetes objects of a worker. `values` are complete and checked."""
    worker = WorkerManifest(values)
    settings = values["worker"]
    objects = access_objects(worker)
    template = _base_job_template(worker)
    if template is not None:
        objects.append(template)
    objects.append(_deployment(worker, template))
    if settings["autoscaling"]["enabled"]:
        objects.append(_autoscaler(worker))
    if settings["podDisruptionBudget"]:
        selector = {"selector": {"matchLabels": worker.selector}}
        objects.append(
            worker.object("policy/v1", "PodDisruptionBudget")
            | {"spec": selector | settings["podDisruptionBudget"]}
        )
    return objects + _monitoring(worker) + _network_policy(worker)


def _deployment(worker: WorkerManifest, template: Json) -> Json:
    settings = worker.values["worker"]
    annotations = dict(settings["podAnnotations"])
    if template is not None:
        text = template["data"][_TEMPLATE_FILE]
        annotations["checksum/config"] = hashlib.sha256(text.encode()).hexdigest()
    if settings["metrics"]["podAnnotations"]:
        annotations |= {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(PORT),
            "prometheus.io/path": "/metrics",
        }
    deployment = worker.object("apps/v1", "Deployment")
    labels = deployment["metadata"]["labels"] | settings["podLabels"] | worker.selector
    spec = {
        "replicas": None if settings["autoscaling"]["enabled"] else settings["replicaCount"],
        "revisionHistoryLimit": settings["revisionHistoryLimit"],
        "strategy": settings["strategy"],
        "selector": {"matchLabels": worker.selector},
        "template": {
            "metadata": without_empty({"labels": labels, "annotations": annotations}),
            "spec": pod_spec(worker),
        },
    }
    return deployment | {"spec": without_empty(spec)}


def _base_job_template(worker: WorkerManifest) -> Json:
    """The ConfigMap with the base job template; None if the values have none of their own."""
    template = worker.values["worker"]["config"]["baseJobTemplate"]["configuration"]
    if not template:
        return None
    text = template if isinstance(template, str) else json.dumps(template, indent=2)
    name = worker.template_config_map or ""
    return worker.object("v1", "ConfigMap", name=name) | {"data": {_TEMPLATE_FILE: text}}


def _autoscaler(worker: WorkerManifest) -> Json:
    scaling = worker.values["worker"]["autoscaling"]
    targets = {
        "cpu": scaling["targetCPUUtilizationPercentage"],
        "memory": scaling["targetMemoryUtilizationPercentage"],
    }
    metrics = [
        {
            "type": "Resource",
            "resource": {
                "name": name,
                "target": {"type": "Utilization", "averageUtilization": target},
            },
        }
        for name, target in targets.items()
        if target
    ]
    return worker.object("autoscaling/v2", "HorizontalPodAutoscaler") | {
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": worker.name},
            "minReplicas": scaling["minReplicas"],
            "maxReplicas": scaling["maxReplicas"],
            "metrics": metrics,
        }
    }


def _monitoring(worker: WorkerManifest) -> list[Json]:
    metrics = worker.values["worker"]["metrics"]
    objects = []
    if metrics["service"]:
        ports = [{"name": "health", "port": PORT, "targetPort": "health"}]
        spec = {"selector": worker.selector, "ports": ports}
        objects.append(worker.object("v1", "Service") | {"spec": spec})
    if metrics["podMonitor"]:
        endpoints = [{"port": "health", "path": "/metrics"}]
        spec = {"selector": {"matchLabels": worker.selector}, "podMetricsEndpoints": endpoints}
        objects.append(worker.object("monitoring.coreos.com/v1", "PodMonitor") | {"spec": spec})
    return objects


def _network_policy(worker: WorkerManifest) -> list[Json]:
    if not worker.values["worker"]["networkPolicy"]["enabled"]:
        return []
    spec = {
        "podSelector": {"matchLabels": worker.selector},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": "health"}]}],
        "egress": [{}],
    }
    return [worker.object("networking.k8s.io/v1", "NetworkPolicy") | {"spec": spec}]
