"""What the jobs of work pools need from a cluster or an engine, from their templates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.jobs.manifest import main_container
from deployctl.jobs.model import JobSource
from deployctl.jobs.rendering import render_variables
from deployctl.templating.grammar import has_placeholder
from deployctl.worker.runtimes import RuntimeKind


@dataclass(frozen=True, slots=True)
class JobNeeds:
    """What the jobs of a deployment need. Empty: not known, or the default."""

    namespace: str = ""
    image: str = ""
    local: bool = False
    """The image is never pulled."""
    service_account: str = ""
    pull_secrets: tuple[str, ...] = ()
    own_cluster: bool = True
    """Whether the job runs in the worker's own cluster."""


def job_needs(
    pools: Sequence[Json], deployments: Iterable[Json], environ: Mapping[str, str]
) -> frozenset[JobNeeds]:
    """What the jobs of pools that run containers need; a pool without deployments has its own.

    References to blocks and variables of the server stay unknown. A template that cannot be
    rendered is left out: a deploy and the worker report it.
    """
    return frozenset(_needs(pools, list(deployments), environ))


def _needs(
    pools: Sequence[Json], deployments: Sequence[Json], environ: Mapping[str, str]
) -> Iterator[JobNeeds]:
    for pool in pools:
        if pool["type"] not in (RuntimeKind.KUBERNETES, RuntimeKind.DOCKER):
            continue
        own = [each for each in deployments if each.get("work_pool_name") == pool["name"]]
        for deployment in own or [None]:
            source = JobSource({}, deployment, None, pool, "", "", "")
            try:
                rendered = render_variables(source, environ)
                yield _of(rendered, kubernetes=pool["type"] == RuntimeKind.KUBERNETES)
            except DeployctlError:
                continue


def _of(rendered: Mapping[str, Json], *, kubernetes: bool) -> JobNeeds:
    if not kubernetes:
        local = rendered.get("image_pull_policy") == "Never"
        return JobNeeds(image=_text(rendered.get("image")), local=local, own_cluster=False)
    manifest = rendered.get("job_manifest") or {}
    container = main_container(manifest)
    pod = manifest["spec"]["template"]["spec"]
    metadata = manifest.get("metadata")
    named = metadata.get("namespace") if isinstance(metadata, dict) else None
    secrets = [each for each in pod.get("imagePullSecrets") or () if isinstance(each, dict)]
    return JobNeeds(
        _text(named or rendered.get("namespace")),
        _text(container.get("image")),
        container.get("imagePullPolicy") == "Never",
        _text(pod.get("serviceAccountName")),
        tuple(filter(None, (_text(each.get("name")) for each in secrets))),
        not rendered.get("cluster_config"),
    )


def _text(value: Json) -> str:
    return value if isinstance(value, str) and not has_placeholder(value) else ""
