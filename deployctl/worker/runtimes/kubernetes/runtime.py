"""Kubernetes as a place where jobs run.

Everything that is known of a job stands in its Job and its pods, so any replica, started at any
time, sees the same. This module puts the parts together: `creating` for a job that exists once,
`secrets` for what must not be seen, `observing` for what changes, `output` for what is printed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from deployctl.clients.kubeconfig import ClusterConfigError
from deployctl.clients.kubernetes import KubeApiError, KubeUnreachable
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.jobs.job_labels import ATTEMPT, OWNER, POOL, owner_label
from deployctl.jobs.manifest import Manifest, SecretPolicy, build_manifest
from deployctl.jobs.model import InvalidJobSpec, JobSpec
from deployctl.worker.event_log import EventLog
from deployctl.worker.model import (
    Cause,
    Emit,
    Job,
    Leadership,
    RuntimeUnavailable,
    StartFailed,
    WatchStatus,
)
from deployctl.worker.runtimes.kubernetes.clusters import Cluster, Clusters, Connect
from deployctl.worker.runtimes.kubernetes.informer import resource_path
from deployctl.worker.runtimes.kubernetes.informer_manager import InformerManager
from deployctl.worker.runtimes.kubernetes.job_creation import call_with_retries, create_job
from deployctl.worker.runtimes.kubernetes.job_secrets import JobSecrets
from deployctl.worker.runtimes.kubernetes.job_store import WatchedKind
from deployctl.worker.runtimes.kubernetes.lease import LeaseLeadership
from deployctl.worker.runtimes.kubernetes.pod_logs import last_lines
from deployctl.worker.runtimes.kubernetes.status import combine, job_status
from deployctl.worker.settings import KubernetesSettings
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

T = TypeVar("T")


class KubernetesRuntime:
    """Jobs of one work pool in the worker's cluster, and in those that its jobs name."""

    def __init__(
        self,
        connect: Connect,
        pool_id: str,
        settings: KubernetesSettings,
        event_log: EventLog,
        *,
        major: int,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        """Asks the cluster who it is.

        `major` is that of the Prefect server; `clock` gives seconds of the epoch by the server;
        `sleep` waits between tries.

        Raises NotNow when the cluster cannot be asked, and ClusterConfigError where there is none.
        """
        uid = settings.cluster_uid or ""
        self._clusters = Clusters(connect, event_log, uid=uid, pid_has_uid=major < 3, clock=clock)
        own = self._clusters.own
        self.owner = f"{own.uid}/{own.kube.namespace}/{pool_id}"
        self._pool = pool_id
        self._event_log = event_log
        self._settings = settings
        self._sleep = sleep
        self._lease_duration = timings.lease_duration
        self._secrets = JobSecrets(settings, event_log)
        self._observer = InformerManager(
            self._clusters,
            f"{POOL}={pool_id},{OWNER}={owner_label(self.owner)[OWNER]},{ATTEMPT}",
            event_log,
            clock=clock,
            timings=timings,
            only=settings.namespaces,
            pod_events=settings.replicate_pod_events and major >= 3,
        )

    def leadership(self, identity: str) -> Leadership:
        """The campaign of this process among all workers with the same owner."""
        name = f"deployctl-{self._pool}"
        return LeaseLeadership(
            self._clusters.own.kube,
            name,
            identity,
            self._event_log,
            duration=self._lease_duration,
        )

    def start(self, spec: JobSpec) -> Job:
        """Creates the job, or gives the one of this attempt that is there already.

        Raises StartFailed when the cluster refuses it for good, NotNow when it may take it later.
        """
        cluster = self._cluster_of(spec)
        manifest = self._manifest(spec, self._secrets.secrecy())
        self._observer.look_into(cluster, manifest.namespace)
        try:
            if not self._patiently(lambda: self._secrets.create(cluster.kube, manifest)):
                manifest = self._manifest(spec, self._secrets.open())
            job = self._patiently(lambda: create_job(cluster.kube, manifest))
        except StartFailed:
            self._secrets.drop(cluster.kube, manifest)
            raise
        self._patiently(lambda: self._secrets.give(cluster.kube, job))
        self._secrets.tidy()
        return self._observer.told(cluster, spec.attempt) or _job(cluster, job)

    def stop(self, job: Job) -> None:
        """Deletes the Job and its pods, which get the time to end that they ask for."""
        cluster, namespace = self._clusters.at(job)
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
        }
        _now_or_later(lambda: cluster.kube.request("DELETE", _path(namespace, job.name), body=body))

    def clean_up(self, spec: JobSpec) -> None:
        """Deletes the Secret that was made for the job; who may not do that, leaves it."""
        cluster = self._cluster_of(spec)
        self._secrets.drop(cluster.kube, self._manifest(spec, self._secrets.secrecy()))

    def finish_setup(self, job: Job) -> None:
        """Gives the job its Secret, which goes with it from then on."""
        cluster, namespace = self._clusters.at(job)

        def give() -> None:
            found = cluster.kube.request("GET", _path(namespace, job.name))
            self._secrets.give(cluster.kube, found)

        _now_or_later(give)

    def tail_logs(self, job: Job, lines: int) -> Sequence[str]:
        """The last lines of the job's pods, a failed one's before any other's."""
        cluster, namespace = self._clusters.at(job)
        return last_lines(cluster.kube, namespace, f"{ATTEMPT}={job.attempt}", lines)

    def find(self, attempt: str, spec: JobSpec | None = None, pid: str = "") -> Job | None:
        """Asks the cluster for the job of this attempt, wherever it looks, and whatever its name:
        a run's name and the variables that name and place a job can be changed meanwhile. Without a
        description, all clusters that are known are asked.
        """
        if spec is None:
            clusters, namespace = self._clusters.all(), pid.rpartition(":")[0].rpartition(":")[2]
        else:
            clusters = [self._cluster_of(spec)]
            namespace = self._manifest(spec, self._secrets.open()).namespace
        if namespace:
            self._observer.look_into(clusters[0], namespace)
        try:
            for cluster in clusters:
                for scope in self._observer.scopes(cluster):
                    path = resource_path(WatchedKind.JOBS, scope)
                    for job in cluster.kube.list_objects(path, f"{ATTEMPT}={attempt}", dict).items:
                        return self._observer.told(cluster, attempt) or _job(cluster, job)
        except (KubeApiError, KubeUnreachable) as error:
            raise RuntimeUnavailable(str(error)) from error
        return None

    def watch(self, emit: Emit, stop: CancellationToken) -> None:
        """Tells of all jobs, then of every change, until asked to stop."""
        self._observer.run(emit, stop)

    def watch_statuses(self) -> Iterable[WatchStatus]:
        """How well `watch` is doing, a line for each place, or one for all of a cluster (`*`)."""
        return self._observer.watch_statuses()

    def _cluster_of(self, spec: JobSpec) -> Cluster:
        try:
            return self._clusters.of(spec.configuration)
        except ClusterConfigError as error:
            raise _hopeless("NoCluster", error) from error

    def _manifest(self, spec: JobSpec, secrecy: SecretPolicy) -> Manifest:
        try:
            return build_manifest(spec, owner=self.owner, policy=secrecy)
        except InvalidJobSpec as error:
            raise _hopeless("Undescribable", error) from error

    def _patiently(self, ask: Callable[[], T]) -> T:
        return call_with_retries(ask, self._settings.create_tries, self._sleep)


def _job(cluster: Cluster, job: Json) -> Job:
    facts = job_status(job)
    made = combine(
        facts,
        (),
        location=cluster.location(facts.namespace),
        pid=cluster.pid(facts.namespace, facts.name),
    )
    return replace(made, since=made.since + cluster.ahead())


def _hopeless(code: str, error: DeployctlError) -> StartFailed:
    message = error.message[:1].upper() + error.message[1:]
    return StartFailed(Cause(code, message, help=error.help or ""))


def _now_or_later(ask: Callable[[], object]) -> None:
    """Does it; what is not there is done. Raises NotNow for every other refusal: rights come back,
    and nobody but the worker would do it."""
    try:
        ask()
    except KubeUnreachable as error:
        raise RuntimeUnavailable(str(error)) from error
    except KubeApiError as error:
        if error.status != 404:
            raise RuntimeUnavailable(str(error)) from error


def _path(namespace: str, job: str) -> str:
    return f"{resource_path(WatchedKind.JOBS, namespace)}/{job}"
