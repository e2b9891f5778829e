"""The clusters that jobs run in: the worker's own, and those that `cluster_config` of a job names.

A location is `namespace` in the worker's own cluster and `cluster/namespace` in another one, where
`cluster` is a hash of its address and certificate authority: other credentials do not make another
cluster. The latest credentials that the cluster accepted are in use. After a restart, a worker
knows another cluster only from the next job spec that names it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from deployctl.clients.kubernetes import KubeApiError, KubeClient, KubeUnreachable
from deployctl.core.json_values import Json, canonical_json
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.model import Job, RuntimeUnavailable

Connect: TypeAlias = Callable[[Mapping[str, Json] | None], KubeClient]
"""Opens a connection to the cluster of a `cluster_config`, or to the worker's own for None."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connection to one cluster, and the names of its jobs outside of it."""

    kube: KubeClient
    uid: str
    key: str = ""
    """The part of its locations before the slash; "" for the worker's own cluster."""
    pid_has_uid: bool = False
    """The pid of a job is `uid:namespace:name` in Prefect 2 and in other clusters than the worker's
    own, `namespace:name` in Prefect 3."""
    clock: Callable[[], float] = time.time
    """The Prefect server's time."""

    def location(self, namespace: str) -> str:
        """The location of a namespace, as in `Job.location`."""
        return f"{self.key}/{namespace}" if self.key else namespace

    def pid(self, namespace: str, name: str) -> str:
        """The infrastructure_pid of a job."""
        return (
            f"{self.uid}:{namespace}:{name}"
            if self.pid_has_uid or self.key
            else f"{namespace}:{name}"
        )

    def clock_offset(self) -> float:
        """Seconds by which the Prefect server's clock is ahead of the cluster's.

        Rounded, so that it is the same from moment to moment and an unchanged job stays equal.
        """
        return round(self.clock() - self.kube.clock())


class Clusters:
    """All clusters that were needed so far. Thread-safe."""

    def __init__(
        self,
        connect: Connect,
        event_log: EventLog,
        *,
        uid: str = "",
        pid_has_uid: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Connects to the worker's own cluster.

        `uid` is used for that cluster instead of the one that the cluster reports; `clock` returns
        the Prefect server's time. Raises RuntimeUnavailable when the cluster cannot be identified,
        and what `connect` raises.
        """
        self._connect = connect
        self._event_log = event_log
        self._pid_has_uid = pid_has_uid
        self._clock = clock
        self._lock = threading.Lock()
        self.own = self._cluster(connect(None), "", uid)
        self._clusters = {"": self.own}
        self._keys: dict[str, str] = {}
        """Keys of clusters, by a hash of their `cluster_config`."""

    def all(self) -> list[Cluster]:
        """All clusters that were needed so far, the worker's own first."""
        with self._lock:
            return list(self._clusters.values())

    def for_configuration(self, configuration: Mapping[str, Json]) -> Cluster:
        """The cluster that a job's rendered configuration names.

        Raises RuntimeUnavailable, and what `connect` raises for an invalid configuration.
        """
        config = configuration.get("cluster_config")
        if not config:
            return self.own
        config_hash = _short_hash(canonical_json(config).encode())
        with self._lock:
            if config_hash in self._keys:
                return self._clusters[self._keys[config_hash]]
        kube = self._connect(config)
        key = _short_hash(kube.host.encode() + kube.identity())
        # Not under the lock: a cluster that does not respond must not block other threads.
        cluster = self._cluster(kube, key)
        with self._lock:
            if config_hash not in self._keys:
                self._keys[config_hash], self._clusters[key] = key, cluster
            return self._clusters[key]

    def for_job(self, job: Job) -> tuple[Cluster, str]:
        """The cluster and namespace of a job.

        Raises RuntimeUnavailable for a cluster that is not known yet.
        """
        key, _, namespace = job.location.rpartition("/")
        if not key:
            return self.own, namespace
        with self._lock:
            if key not in self._clusters:
                raise RuntimeUnavailable(f"the cluster of job '{job.name}' is not connected yet")
            return self._clusters[key], namespace

    def _cluster(self, kube: KubeClient, key: str, uid: str = "") -> Cluster:
        return Cluster(kube, uid or self._identify(kube), key, self._pid_has_uid, self._clock)

    def _identify(self, kube: KubeClient) -> str:
        """The uid of the namespace kube-system, as in Prefect; if forbidden, a hash of the CA."""
        try:
            namespace = kube.request("GET", "/api/v1/namespaces/kube-system")
            return str(namespace["metadata"]["uid"])
        except KubeUnreachable as error:
            raise RuntimeUnavailable(f"{error} ({kube.source})") from error
        except KubeApiError as error:
            if error.is_retryable:
                raise RuntimeUnavailable(f"{error} ({kube.source})") from error
        uid = _short_hash(kube.identity())
        self._event_log.emit(
            Level.WARNING,
            EventName.CLUSTER_UID_UNAVAILABLE,
            "the worker may not get the namespace kube-system, so it identifies its cluster by the "
            "cluster's certificate authority; set PREFECT_KUBERNETES_CLUSTER_UID to name it",
            cluster=uid,
        )
        return uid


def _short_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
