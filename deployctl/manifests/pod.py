"""The pod of a worker."""

from __future__ import annotations

from collections.abc import Mapping

from deployctl import __version__
from deployctl.core.json_values import Json
from deployctl.manifests.settings import PORT, WorkerManifest, environment

_HOME = "/home/prefect"
_TEMPLATE_PATH = "/etc/deployctl/baseJobTemplate.json"
"""Not below the home directory, which is a volume."""
_PROBE_PATHS = {"livenessProbe": "/health", "readinessProbe": "/ready", "startupProbe": "/health"}


def pod_spec(worker: WorkerManifest) -> Json:
    """The spec of the pod template."""
    settings = worker.values["worker"]
    volumes: list[Json] = [{"name": "scratch", "emptyDir": {}}]
    if worker.template_config_map:
        source = {"configMap": {"name": worker.template_config_map}}
        volumes.append({"name": "base-job-template", **source})
    spec = {
        "serviceAccountName": worker.service_account,
        "imagePullSecrets": [{"name": name} for name in settings["image"]["pullSecrets"]],
        "priorityClassName": settings["priorityClassName"],
        "securityContext": settings["podSecurityContext"],
        "terminationGracePeriodSeconds": settings["terminationGracePeriodSeconds"],
        "initContainers": settings["initContainer"]["extraContainers"],
        "containers": [_container(worker), *settings["extraContainers"]],
        "volumes": volumes + settings["extraVolumes"],
    }
    same = ("affinity", "nodeSelector", "tolerations", "topologySpreadConstraints", "dnsPolicy")
    return without_empty(spec | {key: settings[key] for key in (*same, "dnsConfig")})


def without_empty(fields: Mapping[str, Json]) -> dict[str, Json]:
    """The fields that have a value: not None, "", {} or []."""
    return {key: value for key, value in fields.items() if value not in (None, "", {}, [])}


def _container(worker: WorkerManifest) -> Json:
    settings = worker.values["worker"]
    mounts = [
        {"name": "scratch", "mountPath": _HOME, "subPath": "home"},
        {"name": "scratch", "mountPath": "/tmp", "subPath": "tmp"},
    ]
    if worker.template_config_map:
        key = _TEMPLATE_PATH.rpartition("/")[2]
        mounts.append({"name": "base-job-template", "mountPath": _TEMPLATE_PATH, "subPath": key})
    container = {
        "name": "worker",
        "image": image(settings["image"]),
        "imagePullPolicy": settings["image"]["pullPolicy"],
        "command": settings["command"],
        "args": settings["args"] or _arguments(worker),
        "workingDir": _HOME,
        "env": environment(worker),
        "envFrom": _env_from(settings),
        "ports": [{"name": "health", "containerPort": PORT}],
        "resources": settings["resources"],
        "securityContext": settings["containerSecurityContext"],
        "lifecycle": settings["lifecycle"],
        "volumeMounts": mounts + settings["extraVolumeMounts"],
    }
    for probe, path in _PROBE_PATHS.items():
        if settings[probe]["enabled"]:
            check = {"httpGet": {"path": path, "port": "health"}}
            container[probe] = check | settings[probe]["config"]
    return without_empty(container)


def image(values: Mapping[str, str]) -> str:
    """The reference of the worker's image."""
    repository = values["repository"]
    if "@" in repository:  # a digest needs no tag
        return repository
    return f"{repository}:{values['prefectTag'] or __version__}"


def _arguments(worker: WorkerManifest) -> list[str]:
    settings = worker.values["worker"]
    config = settings["config"]
    arguments = ["worker", "--pool", config["workPool"], "--type", config["type"]]
    for queue in config["workQueues"]:
        arguments += ["--work-queue", queue]
    if config["limit"]:
        arguments += ["--limit", str(config["limit"])]
    if config["name"]:
        arguments += ["--name", config["name"]]
    if worker.template_config_map:
        arguments += ["--base-job-template", _TEMPLATE_PATH]
    return [*arguments, "--with-healthcheck", *settings["extraArgs"]]


def _env_from(settings: Mapping[str, Json]) -> list[Json]:
    maps = [settings["extraEnvVarsCM"], *settings["extraEnvVarsCMs"]]
    secrets = [settings["extraEnvVarsSecret"], *settings["extraEnvVarsSecrets"]]
    return [{"configMapRef": {"name": name}} for name in maps if name] + [
        {"secretRef": {"name": name}} for name in secrets if name
    ]
