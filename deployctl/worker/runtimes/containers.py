"""From a description to what the container engine is asked for, and back from what it shows. Pure.

The variables are those of Prefect's `docker` pools and mean the same, with one exception:
`auto_remove` is left to the worker, since an engine that removes a container at its end takes the
exit code with it.
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
"""The label with the networks that a container is connected with before its start, by commas."""
AUTO_REMOVE_LABEL = "deployctl.io/auto-remove"
"""The label of containers that are removed when they are over."""

_HOST = "host.docker.internal"
_LOCAL = ("localhost", "127.0.0.1")
_API_URL = "PREFECT_API_URL"


def image_name(spec: JobSpec) -> str:
    """The image to run: the pool's, else Prefect's own of the server's version."""
    return str(spec.configuration.get("image") or default_image(spec.server_version))


def pull_policy(policy: str | None, image: str) -> str:
    """The pull policy that holds: without one `Always` for an image that moves, as Kubernetes does.

    `Always`, `IfNotPresent`, `Never`, or `IfPossible`: pull, and make do with what is there.
    """
    if policy:
        return policy
    name = image.rpartition("/")[2]
    moves = "@" not in name and name.partition(":")[2] in ("", "latest")
    return "Always" if moves else "IfNotPresent"


def create_arguments(spec: JobSpec, *, folder: Path, linux: bool) -> dict[str, Json]:
    """The arguments of docker-py's `containers.create` for a job.

    `folder`: what relative sources of volumes are relative to. `linux`: the engine runs beside the
    worker on Linux, so that a container can use the machine's own network.
    """
    wanted = spec.configuration
    more = dict(wanted.get("container_create_kwargs") or {})
    networks = [str(name) for name in wanted.get("networks") or ()]
    api_url = spec.env.get(_API_URL, "")
    mode = wanted.get("network_mode") or _own_network(networks, api_url, linux)
    apart = mode not in ("host", "none") and not str(mode).startswith("container:")
    env = dict(spec.env)
    if apart and urlsplit(api_url).hostname in _LOCAL:
        for local in _LOCAL:
            env[_API_URL] = env[_API_URL].replace(local, _HOST, 1)
    known = {_HOST: "host-gateway"} if linux and apart and _HOST in env.get(_API_URL, "") else {}
    ours = {
        "name": spec.name,
        "image": image_name(spec),
        "command": list(spec.command),
        "environment": env,
        "labels": _labels(spec, networks[1:]),
        "network": networks[0] if networks else None,
        "network_mode": mode,
        "volumes": [_volume(str(each), folder) for each in wanted.get("volumes") or ()],
        "extra_hosts": {**known, **_hosts(more.get("extra_hosts"))},
        "mem_limit": wanted.get("mem_limit"),
        "memswap_limit": wanted.get("memswap_limit"),
        "privileged": wanted.get("privileged"),
    }
    more.pop("auto_remove", None)
    return {**more, **{name: value for name, value in ours.items() if value not in (None, [], {})}}


def _own_network(networks: list[str], api_url: str, linux: bool) -> str | None:
    """A container that is to reach an API on this machine shares the machine's network."""
    return "host" if linux and not networks and urlsplit(api_url).hostname in _LOCAL else None


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
    """`prefect.io/flow-name` as Docker writes it: `io.prefect.flow-name`."""
    domain, slash, key = name.partition("/")
    return ".".join([*reversed(domain.split(".")), key]) if slash else name


def _volume(text: str, folder: Path) -> str:
    """A volume whose source, where it is a relative path, is made absolute."""
    source, colon, rest = text.partition(":")
    if colon and (source == "." or source.startswith(("./", "../"))):
        return f"{os.path.normpath(folder / source)}:{rest}"
    return text


def _hosts(value: Json) -> dict[str, str]:
    """Extra hosts, as a mapping or a list of `name:address`."""
    if isinstance(value, dict):
        return {str(name): str(address) for name, address in value.items()}
    return dict(str(each).split(":", 1) for each in value or () if ":" in str(each))


def container_job(container: Json, engine: str) -> Job:
    """The job that a container of ours is. `container`: as inspected; `engine`: the engine's URL.

    Raises KeyError for one that is not ours.
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
    """How far a container has come, and since when."""
    state: Mapping[str, Json] = container["State"]
    if state["Status"] == "created":
        return Phase.WAITING, seconds(container["Created"])
    if state["Status"] in ("exited", "dead", "removing"):
        good = state["ExitCode"] == 0 and not state.get("Error")
        return Phase.SUCCEEDED if good else Phase.FAILED, seconds(state["FinishedAt"])
    return Phase.RUNNING, seconds(state["StartedAt"])


def _cause(container: Json) -> Cause:
    state = container["State"]
    if state.get("OOMKilled"):
        limit = container["HostConfig"].get("Memory")
        of = f" of {limit // 2**20} MiB" if limit else ""
        return Cause(
            "OutOfMemory",
            f"it used more memory than its limit{of} and was killed",
            "Raise `mem_limit` of the pool or the deployment, or make the flow use less.",
        )
    if state.get("Error"):
        return Cause("StartError", f"the engine says: {state['Error'].strip().rstrip('.')}")
    return exit_cause(state["ExitCode"])
