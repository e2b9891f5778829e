"""Opens the place where a pool's jobs run."""

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

if TYPE_CHECKING:
    from deployctl.clients.kubernetes import Kube
    from deployctl.worker.runtimes.kubernetes.clusters import Connect


def kind_for(pool: Json, wanted: RuntimeKind | None) -> RuntimeKind:
    """The runtime for a pool: that of its type, or processes if they are asked for.

    Raises PoolError for a type that deployctl does not run, and for jobs that would not fit.
    """
    known = pool["type"] in list(RuntimeKind)
    if wanted is RuntimeKind.PROCESS or (wanted is not None and wanted == pool["type"]):
        return wanted
    if wanted is None and known:
        return RuntimeKind(pool["type"])
    kinds = ", ".join(f"'{kind}'" for kind in RuntimeKind)
    raise PoolError(
        f"the work pool '{pool['name']}' is of type '{pool['type']}', whose jobs "
        + (f"cannot run in '{wanted}'" if wanted else "deployctl does not run"),
        help=f"deployctl runs pools of the types {kinds}, and any of them with --runtime process.",
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
) -> tuple[Runtime, Leadership]:
    """The runtime of a pool, and who of its workers observes.

    `major`: the server's; `clock`: its time. Raises NotNow when the other side is down,
    ClusterConfigError where there is none.
    """
    match kind:
        case RuntimeKind.KUBERNETES:
            from deployctl.worker.runtimes.kubernetes.runtime import KubernetesRuntime

            connect = _clusters(environ.get("KUBECONFIG", ""))
            runtime = KubernetesRuntime(
                connect, pool["id"], settings, event_log, major=major, clock=clock
            )
            return runtime, runtime.leadership(f"{worker} {uuid.uuid4()}")
        case RuntimeKind.DOCKER:
            from deployctl.clients.docker import Engine
            from deployctl.worker.runtimes.docker import DockerRuntime

            linux = sys.platform.startswith("linux")
            docker = DockerRuntime(
                Engine(), pool["id"], folder=Path.cwd(), linux=linux, clock=clock
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
                python=Path(project_python(Path.cwd(), environ)),
                home=None if pool["type"] == RuntimeKind.PROCESS else Path.cwd(),
            )
            return process, NoLeaderElection()


def _clusters(kubeconfig: str) -> Connect:
    """The way to a cluster: the worker's own, or the one of a `cluster_config`."""
    from deployctl.clients.kubeconfig import connect, connect_with_config

    def reach(config: Mapping[str, Json] | None) -> Kube:
        if config is None:
            return connect(kubeconfig)
        return connect_with_config(config.get("config"), config.get("context_name"))

    return reach


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where deployctl remembers things on this machine, as the XDG base directories have it."""
    home = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "deployctl"
