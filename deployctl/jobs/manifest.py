"""Builds the manifest of a Kubernetes Job from a job specification.

The pool's `job_manifest` is completed, not validated: everything that Kubernetes accepts is
accepted, including what Prefect's worker refuses (another name of the container, a sidecar before
it, no `parallelism`) or misplaces. Only a manifest that would run a flow run twice or not at all is
an error.
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
"""Name of the container that runs the flow in Prefect's templates."""
_SIGTERM_BEHAVIOR = "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"


class SecretMode(StrEnum):
    """Which of a job's variables go into its Secret instead of its manifest."""

    NOTHING = "nothing"
    SECRETS = "secrets"
    """Those that are known to be secret."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class SecretPolicy:
    """Where the secrets among a job's variables are stored."""

    mode: SecretMode = SecretMode.NOTHING
    existing: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Variables that an existing Secret of the cluster holds: name → (Secret, key in it)."""


@dataclass(frozen=True, slots=True)
class JobManifest:
    """The objects to create for a job."""

    namespace: str
    name: str
    """Name of the Job and of its Secret."""
    job: Json
    secret: Json | None = None
    """The Secret, without an owner reference: the Job that owns it is created after it."""


def build_manifest(
    spec: JobSpec,
    *,
    owner: str = "",
    policy: SecretPolicy = SecretPolicy(),
    namespace: str = "default",
) -> JobManifest:
    """Builds the Job of a specification, and its Secret if `policy` demands one.

    `owner` is `Runtime.owner` of the worker, the only one that watches the Job; `namespace` is that
    of a Job whose specification has none. Raises InvalidJobSpec with the path of the part that
    cannot work.
    """
    job = _without_nulls(_mapping(spec.configuration.get("job_manifest"), "job_manifest"))
    _require(job, "apiVersion", "batch/v1")
    _require(job, "kind", "Job")
    metadata = _ensure_mapping(job, "metadata", "job_manifest")
    specified = metadata.get("namespace") or spec.configuration.get("namespace")
    namespace = str(specified or namespace)
    metadata.pop("generateName", None)
    metadata |= {"name": spec.name, "namespace": namespace}
    job_spec = _ensure_mapping(job, "spec", "job_manifest")
    template = _ensure_mapping(job_spec, "template", "job_manifest.spec")
    pod_spec = _ensure_mapping(template, "spec", "job_manifest.spec.template")
    _require_single_pod(job_spec, pod_spec)
    identity = {**job_labels.identity_labels(spec), **job_labels.owner_label(owner)}
    pod_metadata = _ensure_mapping(template, "metadata", "job_manifest.spec.template")
    _set_metadata(spec, identity, metadata, pod_metadata)
    pod_spec.setdefault("restartPolicy", "Never")
    container = main_container(job)
    container.setdefault("name", MAIN_CONTAINER)
    container.setdefault("image", default_image(spec.server_version))
    container["args"] = list(spec.command)
    env = {**spec.env, **_sigterm_behavior(spec, job_spec)}
    hidden = _set_environment(spec, env, policy, container)
    secret = _secret(spec, namespace, metadata["labels"], hidden) if hidden else None
    return JobManifest(namespace, spec.name, job, secret)


def main_container(manifest: Json) -> dict[str, Json]:
    """The container of a Job manifest that runs the flow: `prefect-job`, else the first one.

    An empty mapping without a manifest. Raises InvalidJobSpec if a manifest has no container.
    """
    if manifest is None:
        return {}
    value, where = manifest, "job_manifest"
    for key in ("spec", "template", "spec"):
        value = _mapping(value, where).get(key)
        where = f"{where}.{key}"
    containers = _mapping(value, where).get("containers")
    where = f"{where}.containers"
    if not isinstance(containers, list) or not containers:
        raise InvalidJobSpec(f"'{where}' has no container to run the flow", help=_HELP)
    found = [_mapping(item, f"{where}[{index}]") for index, item in enumerate(containers)]
    return next((item for item in found if item.get("name") == MAIN_CONTAINER), found[0])


def _require_single_pod(job_spec: dict[str, Json], pod_spec: dict[str, Json]) -> None:
    """Checks `parallelism` and `completions`; removes them from the pod's spec.

    Prefect's templates have both in the pod's spec, where they have no meaning.
    """
    for name in ("parallelism", "completions"):
        pod_spec.pop(name, None)
        if job_spec.get(name, 1) != 1:
            raise InvalidJobSpec(
                f"'job_manifest.spec.{name}' is not 1, so the flow would not run exactly once",
                help="Remove it from the job manifest of the work pool's base job template.",
            )


def _set_metadata(
    spec: JobSpec,
    identity: Mapping[str, str],
    metadata: dict[str, Json],
    pod_metadata: dict[str, Json],
) -> None:
    """Sets the labels and annotations of the Job; its pod gets all of them as well."""
    keep_case = major_version(spec.server_version) >= 3
    all_labels = {**_recommended_labels(spec.labels), **spec.labels}

    where, pod_where = "job_manifest.metadata", "job_manifest.spec.template.metadata"
    labels = _slug_labels({**_ensure_mapping(metadata, "labels", where), **all_labels}, keep_case)
    metadata["labels"] = {**labels, **identity}
    pod_labels = _ensure_mapping(pod_metadata, "labels", pod_where)
    pod_metadata["labels"] = {
        **_slug_labels(pod_labels, keep_case),
        **_slug_labels(all_labels, keep_case),
        **identity,
    }

    annotations = {
        annotation_key(key, keep_case=keep_case): str(value)
        for key, value in {
            **_ensure_mapping(metadata, "annotations", where),
            **spec.annotations,
        }.items()
    }
    metadata["annotations"] = {
        **annotations,
        job_labels.METADATA_ANNOTATION: job_labels.encode_metadata(spec),
    }
    pod_annotations = _ensure_mapping(pod_metadata, "annotations", pod_where)
    pod_metadata["annotations"] = {
        **{key: str(value) for key, value in pod_annotations.items()},
        **annotations,
    }


def _slug_labels(labels: Mapping[str, Json], keep_case: bool) -> dict[str, str]:
    return {
        label_key(key, keep_case=keep_case): label_value(str(value), keep_case=keep_case)
        for key, value in labels.items()
    }


def _recommended_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that Kubernetes recommends, with the values that Prefect 3 sets."""
    name = labels.get("prefect.io/deployment-name") or labels.get("prefect.io/flow-name")
    recommended = {
        "managed-by": "prefect",
        "part-of": "prefect",
        "version": labels.get("prefect.io/version"),
        "name": name,
    }
    return {f"app.kubernetes.io/{key}": text for key, text in recommended.items() if text}


def _sigterm_behavior(spec: JobSpec, job_spec: Mapping[str, Json]) -> dict[str, str]:
    """The setting for how a run of Prefect 3 reacts when its pod gets SIGTERM.

    If Kubernetes does not start another pod, the run asks to be rescheduled; if it does, the
    run is left to the next pod.
    """
    if major_version(spec.server_version) < 3:
        return {}
    if job_spec.get("backoffLimit") != 0:
        return {_SIGTERM_BEHAVIOR: "relinquish"}
    is_set = spec.env.get(_SIGTERM_BEHAVIOR) or _SIGTERM_BEHAVIOR in spec.env_from
    return {} if is_set else {_SIGTERM_BEHAVIOR: "reschedule"}


def _set_environment(
    spec: JobSpec, literals: Mapping[str, str], policy: SecretPolicy, container: dict[str, Json]
) -> dict[str, str]:
    """Sets the container's variables; returns those to be stored in the job's Secret.

    Variables with `valueFrom` come first, so that `$(NAME)` in the others can refer to them.
    """
    env = [{"name": name, **item} for name, item in spec.env_from.items() if name not in literals]
    hidden: dict[str, str] = {}
    for name, text in literals.items():
        if existing := policy.existing.get(name):
            env.append(_from_secret(name, *existing))
        elif policy.mode is SecretMode.ALL:
            hidden[name] = text
        elif policy.mode is SecretMode.SECRETS and name in spec.secret_env:
            hidden[name] = text
            env.append(_from_secret(name, spec.name, name))
        else:
            env.append({"name": name, "value": text})
    if policy.mode is SecretMode.ALL:
        source = {"secretRef": {"name": spec.name}}
        container["envFrom"] = [*container.get("envFrom", ()), source]
    container["env"] = env
    return hidden


def _from_secret(name: str, secret: str, key: str) -> Json:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _secret(
    spec: JobSpec, namespace: str, labels: Mapping[str, str], values: Mapping[str, str]
) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": spec.name, "namespace": namespace, "labels": dict(labels)},
        "stringData": dict(values),
    }


_HELP = "Correct the job manifest in the work pool's base job template."


def _require(manifest: dict[str, Json], key: str, value: str) -> None:
    if manifest.setdefault(key, value) != value:
        raise InvalidJobSpec(f"'job_manifest.{key}' is not '{value}'", help=_HELP)


def _ensure_mapping(parent: dict[str, Json], key: str, where: str) -> dict[str, Json]:
    """The mapping at `key`, created if it is missing."""
    child = parent[key] = _mapping(parent.get(key, {}), f"{where}.{key}")
    return child


def _mapping(value: Json, where: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise InvalidJobSpec(f"'{where}' is missing or not a mapping", help=_HELP)
    return value


def _without_nulls(value: Json) -> Json:
    """A deep copy without keys and items that are null."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value
