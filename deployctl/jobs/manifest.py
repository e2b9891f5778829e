"""From a description to the manifest of its Kubernetes Job.

The pool's `job_manifest` is completed and never judged by what it could have been: whatever
Kubernetes takes is taken, also what Prefect's worker refuses (another name of the container, a
sidecar before it, no `parallelism`) or misplaces. Only what would run a flow run twice or not at
all is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from deployctl.core.json_values import Json
from deployctl.jobs import job_labels
from deployctl.jobs.model import InvalidJobSpec, JobSpec, major_version
from deployctl.jobs.names import annotation_key, default_image, label_key, label_value

MAIN_CONTAINER = "prefect-job"
"""The container that runs the flow, in Prefect's templates."""
_SIGTERM = "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"


class SecretMode(StrEnum):
    """Which variables of a job are kept in a Secret of its own instead of its manifest."""

    NOTHING = "nothing"
    SECRETS = "secrets"
    """Those that are known to be secret."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class SecretPolicy:
    """Where the secrets among a job's variables go."""

    hide: SecretMode = SecretMode.NOTHING
    existing: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Variables that a Secret of the cluster holds: name → (Secret, key in it)."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What has to be created for a job."""

    namespace: str
    name: str
    """Of the Job, and of its Secret."""
    job: Json
    secret: Json | None = None
    """The Secret without its owner: the Job, which is created after it."""


def build_manifest(
    description: JobSpec, *, owner: str = "", secrecy: SecretPolicy = SecretPolicy()
) -> Manifest:
    """The manifest of a job.

    `owner`: who answers for it, and hears of it. Raises Undescribable with the path of what cannot
    work.
    """
    job = _without_nulls(_mapping(description.configuration.get("job_manifest"), "job_manifest"))
    _require(job, "apiVersion", "batch/v1")
    _require(job, "kind", "Job")
    metadata = _part(job, "metadata", "job_manifest")
    namespace = metadata.get("namespace") or description.configuration.get("namespace")
    namespace = str(namespace or "default")
    metadata.pop("generateName", None)
    metadata |= {"name": description.name, "namespace": namespace}
    spec = _part(job, "spec", "job_manifest")
    template = _part(spec, "template", "job_manifest.spec")
    pod = _part(template, "spec", "job_manifest.spec.template")
    _one_pod(spec, pod)
    ours = {**job_labels.identity_labels(description), **job_labels.owner_label(owner)}
    pod_metadata = _part(template, "metadata", "job_manifest.spec.template")
    _mark(description, ours, metadata, pod_metadata)
    pod.setdefault("restartPolicy", "Never")
    container = main_container(job)
    container.setdefault("name", MAIN_CONTAINER)
    container.setdefault("image", default_image(description.server_version))
    container["args"] = list(description.command)
    texts = {**description.env, **_on_sigterm(description, spec)}
    secret = _environment(description, texts, secrecy, container)
    body = _secret(description, namespace, metadata["labels"], secret) if secret else None
    return Manifest(namespace, description.name, job, body)


def main_container(manifest: Json) -> dict[str, Json]:
    """The container of a manifest that runs the flow: `prefect-job`, else the first.

    {} without a manifest. Raises Undescribable where a manifest has no container.
    """
    if manifest is None:
        return {}
    place, where = manifest, "job_manifest"
    for key in ("spec", "template", "spec"):
        place = _mapping(place, where).get(key)
        where = f"{where}.{key}"
    containers = _mapping(place, where).get("containers")
    where = f"{where}.containers"
    if not isinstance(containers, list) or not containers:
        raise InvalidJobSpec(f"'{where}' has no container to run the flow", help=_HELP)
    found = [_mapping(item, f"{where}[{index}]") for index, item in enumerate(containers)]
    return next((item for item in found if item.get("name") == MAIN_CONTAINER), found[0])


def _one_pod(spec: dict[str, Json], pod: dict[str, Json]) -> None:
    """Takes away what Prefect's templates have in the pod, where it means nothing."""
    for name in ("parallelism", "completions"):
        pod.pop(name, None)
        if spec.get(name, 1) != 1:
            raise InvalidJobSpec(
                f"'job_manifest.spec.{name}' is not 1, so the flow would not run exactly once",
                help="Take it out of the job manifest of the work pool's base job template.",
            )


def _mark(
    description: JobSpec,
    ours: Mapping[str, str],
    metadata: dict[str, Json],
    pod: dict[str, Json],
) -> None:
    """Labels and annotations of the Job, all of which its pod has as well."""
    keep_case = major_version(description.server_version) >= 3
    given = {**_kubernetes_labels(description.labels), **description.labels}

    def slugged(labels: Mapping[str, Json]) -> dict[str, str]:
        return {
            label_key(key, keep_case=keep_case): label_value(str(value), keep_case=keep_case)
            for key, value in labels.items()
        }

    where = "job_manifest.metadata"
    labels = slugged({**_part(metadata, "labels", where), **given})
    metadata["labels"] = {**labels, **ours}
    pod_labels = slugged(_part(pod, "labels", "job_manifest.spec.template.metadata"))
    pod["labels"] = {**pod_labels, **slugged(given), **ours}

    annotations = {
        annotation_key(key, keep_case=keep_case): str(value)
        for key, value in {
            **_part(metadata, "annotations", where),
            **description.annotations,
        }.items()
    }
    metadata["annotations"] = {
        **annotations,
        job_labels.METADATA_ANNOTATION: job_labels.encode_metadata(description),
    }
    own = _part(pod, "annotations", "job_manifest.spec.template.metadata")
    pod["annotations"] = {**{key: str(value) for key, value in own.items()}, **annotations}


def _kubernetes_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that Kubernetes recommends, as Prefect 3 fills them in."""
    name = labels.get("prefect.io/deployment-name") or labels.get("prefect.io/flow-name")
    recommended = {
        "managed-by": "prefect",
        "part-of": "prefect",
        "version": labels.get("prefect.io/version"),
        "name": name,
    }
    return {f"app.kubernetes.io/{key}": text for key, text in recommended.items() if text}


def _on_sigterm(description: JobSpec, spec: Mapping[str, Json]) -> dict[str, str]:
    """What a run of Prefect 3 does when its pod is told to end.

    Where Kubernetes does not start another pod, the run asks to be scheduled again; where it does,
    the run is left to the next pod.
    """
    if major_version(description.server_version) < 3:
        return {}
    if spec.get("backoffLimit") != 0:
        return {_SIGTERM: "relinquish"}
    is_set = description.env.get(_SIGTERM) or _SIGTERM in description.env_from
    return {} if is_set else {_SIGTERM: "reschedule"}


def _environment(
    description: JobSpec,
    texts: Mapping[str, str],
    secrecy: SecretPolicy,
    container: dict[str, Json],
) -> dict[str, str]:
    """Writes the container's variables; gives those that have to stand in the job's Secret.

    What comes from elsewhere stands first, so that `$(NAME)` in the others can mean it.
    """
    elsewhere = description.env_from.items()
    env = [{"name": name, **item} for name, item in elsewhere if name not in texts]
    hidden: dict[str, str] = {}
    for name, text in texts.items():
        if place := secrecy.existing.get(name):
            env.append(_from_secret(name, *place))
        elif secrecy.hide is SecretMode.ALL:
            hidden[name] = text
        elif secrecy.hide is SecretMode.SECRETS and name in description.secret_env:
            hidden[name] = text
            env.append(_from_secret(name, description.name, name))
        else:
            env.append({"name": name, "value": text})
    if secrecy.hide is SecretMode.ALL:
        source = {"secretRef": {"name": description.name}}
        container["envFrom"] = [*container.get("envFrom", ()), source]
    container["env"] = env
    return hidden


def _from_secret(name: str, secret: str, key: str) -> Json:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _secret(
    description: JobSpec,
    namespace: str,
    labels: Mapping[str, str],
    values: Mapping[str, str],
) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": description.name, "namespace": namespace, "labels": dict(labels)},
        "stringData": dict(values),
    }


_HELP = "Correct the job manifest in the work pool's base job template."


def _require(manifest: dict[str, Json], key: str, value: str) -> None:
    if manifest.setdefault(key, value) != value:
        raise InvalidJobSpec(f"'job_manifest.{key}' is not '{value}'", help=_HELP)


def _part(above: dict[str, Json], key: str, where: str) -> dict[str, Json]:
    """The mapping at `key`, made if it is missing."""
    part = above[key] = _mapping(above.get(key, {}), f"{where}.{key}")
    return part


def _mapping(value: Json, where: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise InvalidJobSpec(f"'{where}' is missing or no mapping", help=_HELP)
    return value


def _without_nulls(value: Json) -> Json:
    """A deep copy without the keys and items that are null."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value
