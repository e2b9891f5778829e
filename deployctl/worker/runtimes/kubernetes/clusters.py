"""The clusters that jobs run in: the worker's own, and those that a job's `cluster_config` names.

A place is `namespace` in the worker's own cluster and `cluster/namespace` in another, where the
cluster is a digest of its address and authority: other credentials are no other cluster. Those that
came up last are in use, if the cluster took them. A worker that is started again knows a foreign
cluster only from the next description that names it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from deployctl.clients.kubernetes import Kube, KubeApiError, KubeUnreachable
from deployctl.core.json_values import Json, canonical_json
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.model import Job, RuntimeUnavailable

Connect: TypeAlias = Callable[[Mapping[str, Json] | None], Kube]
"""Opens a cluster: the one of a `cluster_config`, or the worker's own for None."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster, and how its jobs are called outside of it."""

    kube: Kube
    uid: str
    key: str = ""
    """The part of its places before the slash; "" for the worker's own."""
    pid_has_uid: bool = False
    """Prefect 2 calls a job `uid:namespace:name`, Prefect 3 `namespace:name`."""
    clock: Callable[[], float] = time.time
    """The time by the Prefect server."""

    def location(self, namespace: str) -> str:
        """What the worker calls a namespace of it."""
        return f"{self.key}/{namespace}" if self.key else namespace

    def pid(self, namespace: str, name: str) -> str:
        """What the server is told as the infrastructure_pid of a job."""
        return f"{self.uid}:{namespace}:{name}" if self.pid_has_uid else f"{namespace}:{name}"

    def ahead(self) -> float:
        """Whole seconds by which the Prefect server's clock is ahead of the cluster's: they are the
        same from one moment to the next, so that a job which has not changed looks the same.
        """
        return round(self.clock() - self.kube.clock())


class Clusters:
    """All clusters that were needed so far; may be used by many threads."""

    def __init__(
        self,
        connect: Connect,
        event_log: EventLog,
        *,
        uid: str = "",
        pid_has_uid: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`uid` is what the worker's own cluster is to be called, instead of asking it; `clock`
        gives the time by the Prefect server.

        Raises NotNow when the cluster does not say what it is, and what `connect` raises.
        """
        self._connect = connect
        self._event_log = event_log
        self._pid_has_uid = pid_has_uid
        self._clock = clock
        self._lock = threading.Lock()
        kube = connect(None)
        self.own = self._cluster(kube, "", uid)
        self._known = {"": self.own}
        self._keys: dict[str, str] = {}
        """The cluster of each `cluster_config` that was seen, by a hash of the latter."""

    def all(self) -> list[Cluster]:
        """Those that were needed so far, the worker's own first."""
        with self._lock:
            return list(self._known.values())

    def of(self, configuration: Mapping[str, Json]) -> Cluster:
        """The cluster that a job's rendered configuration asks for.

        Raises NotNow, and what `connect` raises for a configuration that cannot be used.
        """
        config = configuration.get("cluster_config")
        if not config:
            return self.own
        seen = _short_hash(canonical_json(config).encode())
        with self._lock:
            if seen in self._keys:
                return self._known[self._keys[seen]]
        kube = self._connect(config)
        key = _short_hash(kube.host.encode() + kube.identity())
        # Not under the lock: a cluster that does not answer must hold nobody else up.
        found = self._cluster(kube, key)
        with self._lock:
            if seen not in self._keys:
                self._keys[seen], self._known[key] = key, found
            return self._known[key]

    def at(self, job: Job) -> tuple[Cluster, str]:
        """The cluster and the namespace of a job; raises NotNow for a cluster not known yet."""
        key, _, namespace = job.location.rpartition("/")
        if not key:
            return self.own, namespace
        with self._lock:
            if key not in self._known:
                raise RuntimeUnavailable(f"the cluster of job '{job.name}' is not connected yet")
            return self._known[key], namespace

    def _cluster(self, kube: Kube, key: str, uid: str = "") -> Cluster:
        return Cluster(kube, uid or self._identify(kube), key, self._pid_has_uid, self._clock)

    def _identify(self, kube: Kube) -> str:
        """The uid of kube-system, as Prefect does it; where that may not be read, of the CA."""
        try:
            found = kube.request("GET", "/api/v1/namespaces/kube-system")
            return str(found["metadata"]["uid"])
        except KubeUnreachable as error:
            raise RuntimeUnavailable(f"{error} ({kube.source})") from error
        except KubeApiError as error:
            if error.is_retryable:
                raise RuntimeUnavailable(f"{error} ({kube.source})") from error
        uid = _short_hash(kube.identity())
        self._event_log.emit(
            Level.WARNING,
            EventName.CLUSTER_UID_UNAVAILABLE,
            "the worker may not get the namespace kube-system, so it knows its cluster by the "
            "certificate of its authority; PREFECT_KUBERNETES_CLUSTER_UID gives it a name",
            cluster=uid,
        )
        return uid


def _short_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
