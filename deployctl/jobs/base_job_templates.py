"""The base job templates of the work pools that deployctl creates.

They have the variables of Prefect's own templates of both majors, so that a deployment moves
between pools without change, and Prefect's own workers take them: its Kubernetes worker demands
`parallelism` and `completions` in the pod's spec, where Kubernetes ignores them, and a first
container called `prefect-job`. The two fields stand also where Kubernetes reads them.

No variable has a default of null: Prefect 2 would put that null into the manifest, and the
cluster would refuse a container whose image is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy

from deployctl.core.json_values import Json


def template_for(pool_type: str) -> Json:
    """A fresh template for pools of this type; None for a type that deployctl does not run."""
    make = _TEMPLATES.get(pool_type)
    return make() if make else None


def kubernetes_template() -> Json:
    """A fresh copy of the template, ready to be sent as a pool's `base_job_template`."""
    return _template(
        "What a deployment may set for its jobs on Kubernetes.",
        {**_placeholders(_CONFIGURATION), "job_manifest": _manifest()},
        _VARIABLES,
        {"KubernetesClusterConfig": _cluster_config()},
    )


def docker_template() -> Json:
    """The same for Docker containers."""
    return _template(
        "What a deployment may set for its containers.",
        _placeholders(_DOCKER),
        _DOCKER,
        {"DockerRegistryCredentials": _registry_credentials()},
    )


def process_template() -> Json:
    """The same for processes on the worker's machine."""
    return _template(
        "What a deployment may set for its processes.", _placeholders(_PROCESS), _PROCESS, {}
    )


def _template(
    description: str,
    configuration: Json,
    variables: Mapping[str, Json],
    blocks: Mapping[str, Json],
) -> Json:
    schema = {
        "type": "object",
        "description": description,
        "properties": {
            name: {"title": name.replace("_", " ").title(), **deepcopy(schema)}
            for name, schema in variables.items()
        },
    }
    if blocks:
        schema["definitions"] = blocks
    return {"job_configuration": configuration, "variables": schema}


def _placeholders(names: Iterable[str]) -> dict[str, str]:
    return {name: f"{{{{ {name} }}}}" for name in names}


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


_COMMON: Mapping[str, Json] = {
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
        "description": "Labels of what runs the job.",
    },
    "command": {**_STRING, "description": "What the job runs; by default, the flow run."},
    "stream_output": {
        "type": "boolean",
        "default": True,
        "description": "Whether the worker prints what the job prints.",
    },
}
_IMAGE = {
    **_STRING,
    "description": "The container image; by default, Prefect's of the server's version.",
}

_PROCESS: Mapping[str, Json] = {
    **_COMMON,
    "working_dir": {
        **_STRING,
        "format": "path",
        "description": "Where the process runs; by default, in a folder of its own.",
    },
}

_DOCKER: Mapping[str, Json] = {
    **_COMMON,
    "image": _IMAGE,
    "registry_credentials": {
        "anyOf": [{"$ref": "#/definitions/DockerRegistryCredentials"}, {"type": "null"}],
        "description": "With what to log in to the image's registry.",
    },
    "image_pull_policy": {
        **_STRING,
        "enum": ["IfNotPresent", "Always", "IfPossible", "Never"],
        "description": "When to pull the image; by default, always if its tag is 'latest'.",
    },
    "networks": {
        "type": "array",
        "items": _STRING,
        "default": [],
        "description": "Docker networks to join.",
    },
    "network_mode": {
        **_STRING,
        "description": "'host', 'bridge', …: instead of 'networks'.",
    },
    "auto_remove": {
        "type": "boolean",
        "default": False,
        "description": "Whether a container is removed when it has ended.",
    },
    "volumes": {
        "type": "array",
        "items": _STRING,
        "default": [],
        "description": "Folders to mount: '/here:/there'.",
    },
    "mem_limit": {**_STRING, "description": "Memory to use at most: '512m', '2g'."},
    "memswap_limit": {
        **_STRING,
        "description": "Memory and swap together; '-1' for as much swap as there is.",
    },
    "privileged": {
        "type": "boolean",
        "default": False,
        "description": "Whether the container may do what the machine's root may.",
    },
    "container_create_kwargs": {
        "type": "object",
        "description": "Further arguments of docker-py's 'containers.create'.",
    },
}

_VARIABLES: Mapping[str, Json] = {
    **_COMMON,
    "annotations": {
        "type": "object",
        "additionalProperties": _STRING,
        "default": {},
        "description": "Annotations of the job and its pod.",
    },
    "namespace": {
        **_STRING,
        "default": "default",
        "description": "The namespace of the jobs.",
    },
    "image": _IMAGE,
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
        "description": "Seconds until a finished job is deleted; by default, it is kept. Its flow "
        "run has its end by then.",
    },
    "job_watch_timeout_seconds": {
        "type": "integer",
        "description": "Seconds that a job may run; then it is stopped and its flow run is "
        "crashed. By default, as long as it takes.",
    },
    "pod_watch_timeout_seconds": {
        "type": "integer",
        "default": 60,
        "description": "Seconds that a job may wait for its start before it is stopped and its "
        "flow run is crashed. The default holds only for what does not end by itself, such as an "
        "image that does not exist.",
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


def _registry_credentials() -> Json:
    return {
        "title": "DockerRegistryCredentials",
        "description": "A block that holds the login of a registry.",
        "type": "object",
        "properties": {
            "username": {**_STRING, "description": "The user's name."},
            "password": {
                **_STRING,
                "format": "password",
                "writeOnly": True,
                "description": "The user's password or token.",
            },
            "registry_url": {**_STRING, "description": "The registry's address."},
            "reauth": {
                "type": "boolean",
                "default": True,
                "description": "Whether to log in again each time.",
            },
        },
        "required": ["username", "password", "registry_url"],
        "block_type_slug": "docker-registry-credentials",
        "secret_fields": ["password"],
        "block_schema_references": {},
    }


_TEMPLATES: Mapping[str, Callable[[], Json]] = {
    "kubernetes": kubernetes_template,
    "docker": docker_template,
    "process": process_template,
}

TYPES = tuple(_TEMPLATES)
"""The types of work pools whose runs deployctl can work on."""
