"""What is known of a flow run when its job is described, and the description itself.

A description is the same for all runtimes: `jobs.manifest` makes a Kubernetes Job of it, the Docker
and process runtimes read it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json

EXECUTE = ("prefect", "flow-run", "execute")
"""What a job runs when nothing else is asked for: it exists in Prefect 2.12 and later, and hears
when its run is cancelled, which `python -m prefect.engine` does not."""


@dataclass(frozen=True, slots=True)
class JobSource:
    """A claimed flow run with all that its job is made of, as the server gives it."""

    flow_run: Json
    deployment: Json
    flow: Json
    work_pool: Json
    attempt: str
    """The id of the PENDING state that the claim made: new for each attempt."""
    worker_name: str
    server_version: str
    """`3.8.8`; "" where the server does not say (Prefect Cloud)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a job may take, and how it ends."""

    start_within: float | None = None
    """Seconds that it may be stuck before its start (`pod_watch_timeout_seconds`)."""
    strict: bool = False
    """`start_within` was chosen by somebody and holds for every wait before the start, also for
    those that end by themselves: a busy cluster, an image on its way."""
    run_within: float | None = None
    """Seconds from its start to its end (`job_watch_timeout_seconds`)."""
    hears_cancel: bool = True
    """It ends by itself when its run is cancelled, as `prefect flow-run execute` does."""
    stream: bool = False
    """What it prints is repeated by the worker (`stream_output`)."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job, before it becomes a manifest, a container or a process."""

    run: str
    attempt: str
    pool: str
    """The id of the work pool."""
    name: str
    """Its name in every runtime, the same whenever this attempt is described: `slug-hash`."""
    worker: str
    configuration: Mapping[str, Json] = field(repr=False)
    """`job_configuration` of the pool, rendered."""
    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    env_from: Mapping[str, Json] = field(default_factory=dict)
    """Variables whose values only the cluster knows: name → `{"valueFrom": …}`."""
    secret_env: frozenset[str] = frozenset()
    """Names of `env` whose values must not be seen: API key, auth string, Secret blocks."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    server_version: str = ""
    """As in `Subject`."""


class InvalidJobSpec(DeployctlError):
    """A run, its deployment and its pool make no job that could work; a reason for its owner."""

    code = "DC640"


def major(server_version: str) -> int:
    """2 or 3; Prefect Cloud, which says no version, is the newest."""
    return int(server_version.partition(".")[0] or 3)
