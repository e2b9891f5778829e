"""Containers of the Docker runtime: arguments that create one, and the `Job` that one stands for.

Pure. The job variables are those of Prefect's `docker` pools and mean the same, with one exception:
`auto_remove` is carried out by the worker, because an engine that removes a container at its end
removes the exit code with it.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from deployctl.core.json_values import Json
from deployctl.jobs import job_labels
from deployctl.jobs.model import JobSpec
from deployctl.jobs.names import default_image
from deployctl.worker.model import Cause, Job, Phase
from deployctl.worker.runtimes.exit_codes import exit_cause
from deployctl.worker.server.runs import seconds

NETWORKS_LABEL = "deployctl.io/networks"
"""Label with the networks to connect before the start of a container, separated by commas."""
AUTO_REMOVE_LABEL = "deployctl.io/auto-remove"
"""Label of containers that the worker removes after their end."""

_HOST_NAME = "host.docker.internal"
_LOCAL_HOSTS = ("localhost", "127.0.0.1")
_API_URL = "PREFECT_API_URL"


def image_name(spec: JobSpec) -> str:
    """The configured image, else Prefect's own of the server's version."""
    return str(spec.configuration.get("image") or default_image(spec.server_version))


def pull_policy(policy: str | None, image: str) -> str:
    """The effective pull policy: `Always`, `IfNotPresent`, `Never` or `IfPossible`.

    `IfPossible` pulls, and falls back to an image that the engine has. Without a configured policy,
    the default is that of Kubernetes: `Always` for the tag `latest`, else `IfNotPresent`.
    """
    if policy:
        return policy
    name = image.rpartition("/")[2]
    is_mutable = "@" not in name and name.partition(":")[2] in ("", "latest")
    return "Always" if is_mutable else "IfNotPresent"


def create_arguments(spec: JobSpec, *, folder: Path, linux: bool) -> dict[str, Json]:
    """The arguments of docker-py's `containers.create` for a job.

    `folder` is the base of relative volume sources. `linux`: the engine runs on the worker's own
    Linux machine, so that a container can use the host network.
    """
    variables = spec.configuration
    extra = dict(variables.get("container_create_kwargs") or {})
    networks = [str(name) for name in variables.get("networks") or ()]
    api_url = spec.env.get(_API_URL, "")
    mode = variables.get("network_mode") or _default_network_mode(networks, api_url, linux)
    has_own_network = mode not in ("host", "none") and not str(mode).startswith("container:")
    env = dict(spec.env)
    if has_own_network and urlsplit(api_url).hostname in _LOCAL_HOSTS:
        for local in _LOCAL_HOSTS:
            env[_API_URL] = env[_API_URL].replace(local, _HOST_NAME, 1)
    needs_gateway = linux and has_own_network and _HOST_NAME in env.get(_API_URL, "")
    gateway = {_HOST_NAME: "host-gateway"} if needs_gateway else {}
    arguments = {
        "name": spec.name,
        "image": image_name(spec),
        "command": list(spec.command),
        "environment": env,
        "labels": _labels(spec, networks[1:]),
        "network": networks[0] if networks else None,
        "network_mode": mode,
        "volumes": [_volume(str(each), folder) for each in variables.get("volumes") or ()],
        "extra_hosts": {**gateway, **_hosts(extra.get("extra_hosts"))},
        "mem_limit": variables.get("mem_limit"),
        "memswap_limit": variables.get("memswap_limit"),
        "privileged": variables.get("privileged"),
    }
    extra.pop("auto_remove", None)
    return {
        **extra,
        **{name: value for name, value in arguments.items() if value not in (None, [], {})},
    }


def _default_network_mode(networks: list[str], api_url: str, linux: bool) -> str | None:
    """`host` if the container has to reach an API server on the worker's machine."""
    return "host" if linux and not networks and urlsplit(api_url).hostname in _LOCAL_HOSTS else None


def _labels(spec: JobSpec, networks: list[str]) -> dict[str, str]:
    labels = {_docker_label(name): value for name, value in spec.labels.items()}
    labels |= job_labels.identity_labels(spec)
    labels[job_labels.METADATA_ANNOTATION] = job_labels.encode_metadata(spec)
    if networks:
        labels[NETWORKS_LABEL] = ",".join(networks)
    if spec.configuration.get("auto_remove"):
        labels[AUTO_REMOVE_LABEL] = "true"
    return labels


def _docker_label(name: str) -> str:
    """A label key in Docker's notation: `prefect.io/flow-name` becomes `io.prefect.flow-name`."""
    domain, slash, key = name.partition("/")
    return ".".join([*reversed(domain.split(".")), key]) if slash else name


def _volume(text: str, folder: Path) -> str:
    """A volume with its source made absolute if it is a relative path."""
    source, colon, rest = text.partition(":")
    if colon and (source == "." or source.startswith(("./", "../"))):
        return f"{os.path.normpath(folder / source)}:{rest}"
    return text


def _hosts(value: Json) -> dict[str, str]:
    """Extra hosts, given as a mapping or as a list of `name:address`."""
    if isinstance(value, dict):
        return {str(name): str(address) for name, address in value.items()}
    return dict(str(each).split(":", 1) for each in value or () if ":" in str(each))


def container_job(container: Json, engine: str) -> Job:
    """The job of a container. `container` is its inspect result, `engine` the engine's URL.

    Raises KeyError for a container without the labels of a job.
    """
    state, labels = container["State"], container["Config"]["Labels"]
    phase, since = _phase(container)
    worker, limits = job_labels.decode_metadata(labels.get(job_labels.METADATA_ANNOTATION))
    return Job(
        run=labels[job_labels.RUN],
        attempt=labels[job_labels.ATTEMPT],
        name=container["Name"].removeprefix("/"),
        location=engine,
        pid=f"{engine}:{container['Id']}",
        worker=worker,
        phase=phase,
        since=since,
        started=state["Status"] != "created",
        cause=_cause(container) if phase is Phase.FAILED else None,
        limits=limits,
        deleting=state["Status"] == "removing",
    )


def _phase(container: Json) -> tuple[Phase, float]:
    """The phase of a container and the time of entry into it."""
    state: Mapping[str, Json] = container["State"]
    if state["Status"] == "created":
        return Phase.WAITING, seconds(container["Created"])
    if state["Status"] in ("exited", "dead", "removing"):
        succeeded = state["ExitCode"] == 0 and not state.get("Error")
        return Phase.SUCCEEDED if succeeded else Phase.FAILED, seconds(state["FinishedAt"])
    return Phase.RUNNING, seconds(state["StartedAt"])


def _cause(container: Json) -> Cause:
    state = container["State"]
    if state.get("OOMKilled"):
        limit = container["HostConfig"].get("Memory")
        of = f" of {limit // 2**20} MiB" if limit else ""
        return Cause(
            "OutOfMemory",
            f"it used more memory than its limit{of} and was killed",
            "Raise `mem_limit` of the pool or the deployment, or make the flow use less memory.",
        )
    if state.get("Error"):
        return Cause(
            "StartError", f"the engine reported an error: {state['Error'].strip().rstrip('.')}"
        )
    return exit_cause(state["ExitCode"])
