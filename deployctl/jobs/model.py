"""Job specification of a flow run, and the server's data that it is built from.

A `JobSpec` is the same for all runtimes: `jobs.manifest` turns it into a Kubernetes Job, the Docker
and process runtimes read it directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json

EXECUTE_COMMAND = ("prefect", "flow-run", "execute")
"""Default command of a job. It exists in Prefect 2.12 and later, and reacts to the cancellation of
its run, which `python -m prefect.engine` does not."""


@dataclass(frozen=True, slots=True)
class JobSource:
    """A claimed flow run and everything that its job is built from, as returned by the server."""

    flow_run: Json
    deployment: Json
    flow: Json
    work_pool: Json
    attempt: str
    """Id of the PENDING state that the claim created: a new one for each attempt."""
    worker_name: str
    server_version: str
    """For example `3.8.8`; "" where the server does not report one (Prefect Cloud)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of a job and how it is ended. Field names are keys of METADATA_ANNOTATION."""

    start_timeout: float | None = None
    """Seconds that a job may be stuck before its start (`pod_watch_timeout_seconds`)."""
    start_timeout_explicit: bool = False
    """`start_timeout` was set by the user and covers every wait before the start, including those
    that end without intervention: a busy cluster, an image that is being pulled."""
    run_timeout: float | None = None
    """Seconds from the start of a job to its end (`job_watch_timeout_seconds`)."""
    ignores_cancellation: bool = False
    """The job does not end by itself when its run is cancelled, as `prefect flow-run execute`
    does."""
    stream_output: bool = False
    """The worker repeats what the job prints (`stream_output`)."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """Runtime-independent description of a job: the input of a manifest, container or process."""

    run: str
    """Id of the flow run."""
    attempt: str
    """Id of the claim, as in `JobSource`."""
    pool: str
    """Id of the work pool."""
    name: str
    """Name in every runtime, the same each time this attempt's spec is built: `slug-hash`."""
    worker: str
    """Name of the worker."""
    configuration: Mapping[str, Json] = field(repr=False)
    """The pool's rendered `job_configuration`."""
    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    env_from: Mapping[str, Json] = field(default_factory=dict)
    """Variables whose values only the cluster knows: name → `{"valueFrom": …}`."""
    secret_env: frozenset[str] = frozenset()
    """Names of `env` whose values are secret: API key, auth string, values of Secret blocks."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    server_version: str = ""
    """As in `JobSource`."""


class InvalidJobSpec(DeployctlError):
    """No working job can be built from a run, its deployment and its work pool.

    The message is the reason, for the owner of the run.
    """

    code = "DC640"


def major_version(server_version: str) -> int:
    """Prefect's major version, 2 or 3. Prefect Cloud reports no version and counts as 3."""
    return int(server_version.partition(".")[0] or 3)
