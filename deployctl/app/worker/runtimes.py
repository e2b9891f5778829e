"""Selects and opens the runtimes of work pools."""

from __future__ import annotations

import sys
import threading
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
    from deployctl.worker.runtimes.kubernetes.runtime import SharedClusters


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


class RuntimeFactory:
    """Opens the runtimes of a process's pools, which share what they can. Thread-safe."""

    def __init__(
        self,
        settings: KubernetesSettings,
        event_log: EventLog,
        *,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        on_error: Callable[[int | None], None],
        timings: Timings,
    ) -> None:
        """`clock`: the server's time; `on_error`: called with the status of each failed request to
        a cluster, None for one without a response."""
        self._settings = settings
        self._event_log = event_log
        self._environ = environ
        self._clock = clock
        self._on_error = on_error
        self._timings = timings
        self._lock = threading.Lock()
        self._clusters: SharedClusters | None = None

    def open(
        self, kind: RuntimeKind, pool: Json, worker: str, event_log: EventLog, *, major: int
    ) -> tuple[Runtime, Leadership]:
        """Opens the runtime of a pool and the leader election among its workers.

        `major`: of the Prefect server. Raises RuntimeUnavailable if the other side is down,
        ClusterConfigError if no cluster is configured.
        """
        match kind:
            case RuntimeKind.KUBERNETES:
                from deployctl.worker.runtimes.kubernetes.runtime import KubernetesRuntime

                runtime = KubernetesRuntime(self._shared_clusters(major), pool["id"], event_log)
                return runtime, runtime.leadership(f"{worker} {uuid.uuid4()}")
            case RuntimeKind.DOCKER:
                return self._docker(pool), NoLeaderElection()
            case RuntimeKind.PROCESS:
                return self._process(pool, major), NoLeaderElection()

    def _shared_clusters(self, major: int) -> SharedClusters:
        from deployctl.worker.runtimes.kubernetes.runtime import SharedClusters

        with self._lock:
            if self._clusters is None:
                self._clusters = SharedClusters(
                    _cluster_connector(self._environ.get("KUBECONFIG", ""), self._on_error),
                    self._settings,
                    self._event_log,
                    major=major,
                    clock=self._clock,
                    timings=self._timings,
                )
            return self._clusters

    def _docker(self, pool: Json) -> Runtime:
        from deployctl.clients.docker import Engine
        from deployctl.worker.runtimes.docker import DockerRuntime

        return DockerRuntime(
            Engine(),
            pool["id"],
            folder=Path.cwd(),
            linux=sys.platform.startswith("linux"),
            clock=self._clock,
            timings=self._timings,
        )

    def _process(self, pool: Json, major: int) -> Runtime:
        from deployctl.worker.runtimes.process import ProcessRuntime

        return ProcessRuntime(
            state_folder(self._environ) / "jobs",
            pool["id"],
            major=major,
            environ=self._environ,
            clock=self._clock,
            timings=self._timings,
            python=Path(project_python(Path.cwd(), self._environ)),
            home=None if pool["type"] == RuntimeKind.PROCESS else Path.cwd(),
        )


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
