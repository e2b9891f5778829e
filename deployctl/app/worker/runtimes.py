"""Selects and opens the runtime of a work pool."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from deployctl.core.json_values import Json
from deployctl.flows.importer import project_python
from deployctl.worker.event_log import EventLog
from deployctl.worker.model import Leadership, NoLeaderElection, Runtime
from deployctl.worker.runtimes import RuntimeKind
from deployctl.worker.server.pool import PoolError
from deployctl.worker.settings import KubernetesSettings
from deployctl.worker.timings import Timings

if TYPE_CHECKING:
    from deployctl.clients.kubernetes import KubeClient
    from deployctl.worker.runtimes.kubernetes.clusters import Connect


def kind_for(pool: Json, requested: RuntimeKind | None) -> RuntimeKind:
    """Return the runtime of a pool: that of its type, or processes if they are requested.

    Raises PoolError for a type that deployctl does not run, and for a runtime that cannot run jobs
    of this type.
    """
    known = pool["type"] in list(RuntimeKind)
    if requested is RuntimeKind.PROCESS or (requested is not None and requested == pool["type"]):
        return requested
    if requested is None and known:
        return RuntimeKind(pool["type"])
    kinds = ", ".join(f"'{kind}'" for kind in RuntimeKind)
    raise PoolError(
        f"the work pool '{pool['name']}' is of type '{pool['type']}', whose jobs "
        + (f"cannot run in '{requested}'" if requested else "deployctl does not run"),
        help=f"Use a pool of one of the types {kinds}, or --runtime process for any of them.",
    )


def open_runtime(
    kind: RuntimeKind,
    pool: Json,
    worker: str,
    settings: KubernetesSettings,
    event_log: EventLog,
    *,
    major: int,
    environ: Mapping[str, str],
    clock: Callable[[], float],
    on_error: Callable[[int | None], None],
    timings: Timings,
) -> tuple[Runtime, Leadership]:
    """Open the runtime of a pool and the leader election among its workers.

    `major`: of the Prefect server; `clock`: the server's time; `on_error`: called with the status
    of each failed request to a cluster, None for one without a response. Raises RuntimeUnavailable
    if the other side is down, ClusterConfigError if no cluster is configured.
    """
    match kind:
        case RuntimeKind.KUBERNETES:
            from deployctl.worker.runtimes.kubernetes.runtime import KubernetesRuntime

            runtime = KubernetesRuntime(
                _cluster_connector(environ.get("KUBECONFIG", ""), on_error),
                pool["id"],
                settings,
                event_log,
                major=major,
                clock=clock,
                timings=timings,
            )
            return runtime, runtime.leadership(f"{worker} {uuid.uuid4()}")
        case RuntimeKind.DOCKER:
            from deployctl.clients.docker import Engine
            from deployctl.worker.runtimes.docker import DockerRuntime

            linux = sys.platform.startswith("linux")
            docker = DockerRuntime(
                Engine(),
                pool["id"],
                folder=Path.cwd(),
                linux=linux,
                clock=clock,
                timings=timings,
            )
            return docker, NoLeaderElection()
        case RuntimeKind.PROCESS:
            from deployctl.worker.runtimes.process import ProcessRuntime

            process = ProcessRuntime(
                state_folder(environ) / "jobs",
                pool["id"],
                major=major,
                environ=environ,
                clock=clock,
                timings=timings,
                python=Path(project_python(Path.cwd(), environ)),
                home=None if pool["type"] == RuntimeKind.PROCESS else Path.cwd(),
            )
            return process, NoLeaderElection()


def _cluster_connector(kubeconfig: str, on_error: Callable[[int | None], None]) -> Connect:
    """Return a function that connects to the worker's own cluster or to a `cluster_config`."""
    from deployctl.clients.kubeconfig import connect, connect_with_config

    def connect_to(config: Mapping[str, Json] | None) -> KubeClient:
        """`config`: a job's `cluster_config`; None: the worker's own cluster."""
        if config is None:
            kube = connect(kubeconfig)
        else:
            kube = connect_with_config(config.get("config"), config.get("context_name"))
        kube.on_error = on_error
        return kube

    return connect_to


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return deployctl's state directory on this machine (XDG base directory specification)."""
    home = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "deployctl"
