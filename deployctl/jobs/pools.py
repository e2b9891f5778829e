"""The base job template of the work pools of type `kubernetes` that deployctl creates.

It has the variables of Prefect's own templates of both majors, so that a deployment moves between
pools without change, and Prefect's own workers take it: they demand `parallelism` and
`completions` in the pod's spec, where Kubernetes ignores them, and a first container called
`prefect-job`. The two fields stand also where Kubernetes reads them.

No variable has a default of null: Prefect 2 would put that null into the manifest, and the
cluster would refuse a container whose image is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

from deployctl.core.values import Json


def kubernetes_template() -> Json:
    """A fresh copy of the template, ready to be sent as a pool's `base_job_template`."""
    return {
        "job_configuration": {
            **{name: f"{{{{ {name} }}}}" for name in _CONFIGURATION},
            "job_manifest": _manifest(),
        },
        "variables": {
            "type": "object",
            "description": "What a deployment may set for its jobs on Kubernetes.",
            "properties": {
                name: {"title": name.replace("_", " ").title(), **deepcopy(schema)}
                for name, schema in _VARIABLES.items()
            },
            "definitions": {"KubernetesClusterConfig": _cluster_config()},
        },
    }


_CONFIGURATION = (
    "command",
    "env",
    "labels",
    "annotations",
    "name",
    "namespace",
    "cluster_config",
    "job_watch_timeout_seconds",
    "pod_watch_timeout_seconds",
    "stream_output",
)
_STRING = {"type": "string"}
_CPU = "As Kubernetes counts it: '500m' is half a processor."
_MEMORY = "As Kubernetes counts it: '512Mi', '2Gi'."


_VARIABLES: Mapping[str, Json] = {
    "name": {**_STRING, "description": "What the names of jobs begin with."},
    "env": {
        "type": "object",
        "additionalProperties": {"anyOf": [_STRING, {"type": "null"}]},
        "default": {},
        "description": "Environment variables; null takes an inherited one away.",
    },
    "labels": {
        "type": "object",
        "additionalProperties": _STRING,
        "default": {},
        "description": "Labels of the job and its pod.",
    },
    "annotations": {
        "type": "object",
        "additionalProperties": _STRING,
        "default": {},
        "description": "Annotations of the job and its pod.",
    },
    "command": {
        **_STRING,
        "description": "What the container runs; by default, the flow run.",
    },
    "namespace": {
        **_STRING,
        "default": "default",
        "description": "The namespace of the jobs.",
    },
    "image": {
        **_STRING,
        "description": "The container image; by default, Prefect's of the worker's version.",
    },
    "service_account_name": {**_STRING, "description": "The service account of the pods."},
    "image_pull_policy": {
        **_STRING,
        "enum": ["IfNotPresent", "Always", "Never"],
        "default": "IfNotPresent",
        "description": "When the node pulls the image.",
    },
    "backoff_limit": {
        "type": "integer",
        "minimum": 0,
        "default": 0,
        "description": "How often Kubernetes starts a failed pod again.",
    },
    "finished_job_ttl": {
        "type": "integer",
        "description": "Seconds until a finished job is deleted; by default, it is kept.",
    },
    "job_watch_timeout_seconds": {
        "type": "integer",
        "description": "Seconds that a Prefect 2 worker waits for each event of a job.",
    },
    "pod_watch_timeout_seconds": {
        "type": "integer",
        "default": 60,
        "description": "Seconds that a Prefect 2 worker waits for the pod to start.",
    },
    "stream_output": {
        "type": "boolean",
        "default": True,
        "description": "Whether the worker prints what the job prints.",
    },
    "cluster_config": {
        "anyOf": [{"$ref": "#/definitions/KubernetesClusterConfig"}, {"type": "null"}],
        "description": "The cluster, if it is not the worker's own.",
    },
    "cpu_request": {**_STRING, "description": f"Processors to reserve. {_CPU}"},
    "cpu_limit": {**_STRING, "description": f"Processors to use at most. {_CPU}"},
    "memory_request": {**_STRING, "description": f"Memory to reserve. {_MEMORY}"},
    "memory_limit": {**_STRING, "description": f"Memory to use at most. {_MEMORY}"},
}


def _manifest() -> Json:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "labels": "{{ labels }}",
            "annotations": "{{ annotations }}",
            "namespace": "{{ namespace }}",
            "generateName": "{{ name }}-",
        },
        "spec": {
            "backoffLimit": "{{ backoff_limit }}",
            "ttlSecondsAfterFinished": "{{ finished_job_ttl }}",
            "parallelism": 1,
            "completions": 1,
            "template": {
                "spec": {
                    "parallelism": 1,
                    "completions": 1,
                    "restartPolicy": "Never",
                    "serviceAccountName": "{{ service_account_name }}",
                    "containers": [_container()],
                }
            },
        },
    }


def _container() -> Json:
    return {
        "name": "prefect-job",
        "env": "{{ env }}",
        "image": "{{ image }}",
        "imagePullPolicy": "{{ image_pull_policy }}",
        "args": "{{ command }}",
        "resources": {
            "limits": {"cpu": "{{ cpu_limit }}", "memory": "{{ memory_limit }}"},
            "requests": {"cpu": "{{ cpu_request }}", "memory": "{{ memory_request }}"},
        },
    }


def _cluster_config() -> Json:
    return {
        "title": "KubernetesClusterConfig",
        "description": "A block that holds the configuration of a cluster.",
        "type": "object",
        "properties": {
            "config": {"type": "object", "description": "The content of a kubeconfig file."},
            "context_name": {**_STRING, "description": "The context in it to use."},
        },
        "required": ["config", "context_name"],
        "block_type_slug": "kubernetes-cluster-config",
        "secret_fields": [],
        "block_schema_references": {},
    }
