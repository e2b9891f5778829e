"""Runtime that runs jobs as Jobs of Kubernetes.

All state of a job is in its Job and its pods, so that every replica, started at any time, sees the
same. This module combines the parts: `job_creation` for creating a Job exactly once, `job_secrets`
for secret values, `informer_manager` for changes, `pod_logs` for output.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext, suppress
from typing import TypeVar

from deployctl.clients.kubeconfig import ClusterConfigError
from deployctl.clients.kubernetes import KubeApiError, KubeUnreachable
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.jobs.job_labels import ATTEMPT, OWNER, POOL, owner_label
from deployctl.jobs.manifest import JobManifest, SecretPolicy, build_manifest
from deployctl.jobs.model import InvalidJobSpec, JobSpec
from deployctl.worker.event_log import EventLog
from deployctl.worker.model import (
    Cause,
    Emit,
    Job,
    Leadership,
    LocationRefused,
    RuntimeUnavailable,
    StartFailed,
    WatchStatus,
)
from deployctl.worker.runtimes.kubernetes.cluster_watch import ClusterWatches
from deployctl.worker.runtimes.kubernetes.clusters import Cluster, Clusters, Connect
from deployctl.worker.runtimes.kubernetes.informer_manager import InformerManager
from deployctl.worker.runtimes.kubernetes.job_creation import call_with_retries, create_job
from deployctl.worker.runtimes.kubernetes.job_secrets import JobSecrets
from deployctl.worker.runtimes.kubernetes.lease import LeaseLeadership
from deployctl.worker.runtimes.kubernetes.pod_logs import last_pod_lines
from deployctl.worker.runtimes.kubernetes.reflector import (
    ALL_NAMESPACES,
    WatchedKind,
    resource_path,
)
from deployctl.worker.runtimes.kubernetes.status import combine, job_status
from deployctl.worker.settings import KubernetesSettings
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

T = TypeVar("T")


class SharedClusters:
    """What the runtimes of all pools of a process share: connections and watches."""

    def __init__(
        self,
        connect: Connect,
        settings: KubernetesSettings,
        event_log: EventLog,
        *,
        major: int,
        clock: Callable[[], float] = time.time,
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        """Connects to the worker's cluster and identifies it.

        `major` is the major version of the Prefect server, `clock` returns that server's time in
        seconds of the epoch. Raises RuntimeUnavailable when the cluster does not respond, and
        ClusterConfigError if none is configured.
        """
        self.settings = settings
        self.major = major
        self.clock = clock
        self.timings = timings
        uid = settings.cluster_uid or ""
        self.clusters = Clusters(connect, event_log, uid=uid, pid_has_uid=major < 3, clock=clock)
        self.watches = ClusterWatches(
            event_log, clock=clock, namespaces=settings.namespaces, timings=timings
        )


class KubernetesRuntime:
    """`Runtime` for the Jobs of one work pool, in the worker's cluster and those that jobs name."""

    def __init__(
        self,
        shared: SharedClusters,
        pool_id: str,
        event_log: EventLog,
        *,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """`sleep` waits between attempts."""
        self._clusters = shared.clusters
        own = self._clusters.own
        self.owner = f"{own.uid}/{own.kube.namespace}/{pool_id}"
        self._pool = pool_id
        self._event_log = event_log
        self._settings = settings = shared.settings
        self._sleep = sleep
        self._timings = shared.timings
        self._secrets = JobSecrets(settings, event_log, shared.timings)
        owner = owner_label(self.owner)[OWNER]
        self._selector = f"{POOL}={pool_id},{OWNER}={owner},{ATTEMPT}"
        self._informers = InformerManager(
            self._clusters,
            self._selector,
            event_log,
            clock=shared.clock,
            timings=shared.timings,
            namespaces=settings.namespaces,
            pod_events=settings.replicate_pod_events and shared.major >= 3,
            watches=shared.watches,
            owner=owner,
        )

    def is_of_predecessor(self, owner: str) -> bool:  # noqa: ARG002
        """Never: a Job needs no worker, and one in its namespace will find it."""
        return False

    def leadership(self, identity: str) -> Leadership:
        """The leader election of this process among all workers with the same owner."""
        return LeaseLeadership(
            self._clusters.own.kube,
            f"deployctl-{self._pool}",
            identity,
            self._event_log,
            duration=self._timings.lease_duration,
        )

    def start(self, spec: JobSpec) -> Job:
        """Creates the Job, or returns the existing one of this attempt.

        Raises StartFailed when the cluster refuses it permanently, RuntimeUnavailable when it may
        accept it later.
        """
        cluster = self._cluster(spec)
        manifest = self._manifest(spec, self._secrets.policy)
        self._informers.add_namespace(cluster, manifest.namespace)
        try:
            if not self._retry(lambda: self._secrets.create(cluster.kube, manifest)):
                manifest = self._manifest(spec, self._secrets.policy_without_secret)
            job = self._retry(lambda: create_job(cluster.kube, manifest))
        except StartFailed as error:
            if not error.retry_for:  # else another worker may be creating the same Job
                self._secrets.delete(cluster.kube, manifest)
            raise
        self._informers.expect_jobs(cluster, manifest.namespace)
        self._retry(lambda: self._secrets.set_owner(cluster.kube, job))
        self._secrets.retry_deletes()
        return self._informers.last_emitted(cluster, spec.attempt) or _job(cluster, job)

    def delete(self, job: Job) -> None:
        """Deletes the Job and its pods, which get their grace period to end."""
        cluster, namespace = self._clusters.for_job(job)
        path = _job_path(namespace, job.name)
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
        }
        _ignore_missing(lambda: cluster.kube.request("DELETE", path, body=body))

    def clean_up(self, spec: JobSpec) -> None:
        """Deletes the Secret that was created for the job, if the worker may."""
        cluster = self._cluster(spec)
        self._secrets.delete(cluster.kube, self._manifest(spec, self._secrets.policy))

    def sweep(self, needed: Collection[str]) -> None:
        """Deletes the Secrets of jobs that will never be created, where the worker may list them.

        A worker that dies between the Secret and the Job leaves one, and so does a run that is
        deleted or rescheduled before it has a Job.
        """
        for cluster in self._clusters.all():
            for scope in self._informers.scopes(cluster):
                try:
                    self._secrets.sweep(cluster.kube, scope, self._selector, needed)
                except (KubeApiError, KubeUnreachable):
                    continue

    def finish_setup(self, job: Job) -> None:
        """Makes the Job the owner of its Secret, so that both are deleted together."""
        cluster, namespace = self._clusters.for_job(job)

        def set_owner() -> None:
            """Reads the Job and sets it as owner."""
            found = cluster.kube.request("GET", _job_path(namespace, job.name))
            self._secrets.set_owner(cluster.kube, found)

        _ignore_missing(set_owner)

    def tail_logs(self, job: Job, lines: int) -> Sequence[str]:
        """The last lines of the job's pods, those of the newest pod first."""
        cluster, namespace = self._clusters.for_job(job)
        return last_pod_lines(cluster.kube, namespace, f"{ATTEMPT}={job.attempt}", lines)

    def find(self, attempt: str, spec: JobSpec | None = None, pid: str = "") -> Job | None:
        """Looks up the Job of this attempt in all watched scopes, by label.

        Its name and namespace do not matter: a run's name and the variables that name and place a
        job may have changed. A scope that refuses is skipped, unless the Job should be there.
        """
        expected = self._expected_place(spec, pid)
        if expected is not None:
            self._informers.add_namespace(*expected)
        for cluster in self._clusters.all():
            namespace = expected[1] if expected and expected[0].key == cluster.key else None
            for scope in self._informers.scopes(cluster):
                path = resource_path(WatchedKind.JOBS, scope)
                try:
                    found = cluster.kube.list_objects(path, f"{ATTEMPT}={attempt}", dict).items
                except (KubeApiError, KubeUnreachable) as error:
                    is_expected = namespace is not None and scope in (namespace, ALL_NAMESPACES)
                    if failure := _search_error(error, is_expected, expected is not None):
                        raise failure from error
                    continue
                for job in found:
                    return self._informers.last_emitted(cluster, attempt) or _job(cluster, job)
        return None

    def _expected_place(self, spec: JobSpec | None, pid: str) -> tuple[Cluster, str] | None:
        """The cluster and namespace in which a Job was created, or else would be created now.

        The spec is read in any case: a worker knows other clusters only from specs.
        """
        place = None
        if spec is not None:
            with suppress(StartFailed) if pid else nullcontext():
                manifest = self._manifest(spec, self._secrets.policy_without_secret)
                place = self._cluster(spec), manifest.namespace
        uid, _, namespace = pid.rpartition(":")[0].rpartition(":")
        if namespace:
            known = {each.uid: each for each in self._clusters.all()}
            if uid and uid not in known:
                raise LocationRefused(f"the job is in a cluster that is not configured: {uid}")
            place = known[uid] if uid else self._clusters.own, namespace
        return place

    def watch(self, emit: Emit, cancellation: CancellationToken) -> None:
        """Emits all jobs, then their changes, until cancelled."""
        self._informers.run(emit, cancellation)

    def watch_statuses(self) -> Iterable[WatchStatus]:
        """The status of `watch`, one for each namespace, or one for all of a cluster (`*`)."""
        return self._informers.watch_statuses()

    def _cluster(self, spec: JobSpec) -> Cluster:
        try:
            return self._clusters.for_configuration(spec.configuration)
        except ClusterConfigError as error:
            raise _start_failed("NoCluster", error) from error

    def _manifest(self, spec: JobSpec, policy: SecretPolicy) -> JobManifest:
        namespace = self._cluster(spec).kube.namespace
        try:
            return build_manifest(spec, owner=self.owner, policy=policy, namespace=namespace)
        except InvalidJobSpec as error:
            raise _start_failed("InvalidJobSpec", error) from error

    def _retry(self, request: Callable[[], T]) -> T:
        return call_with_retries(request, self._settings.create_tries, self._sleep, self._timings)


def _job(cluster: Cluster, item: Json) -> Job:
    """The `Job` of a Job's JSON, without its pods."""
    status = job_status(item)
    job = combine(
        status,
        (),
        location=cluster.location(status.namespace),
        pid=cluster.pid(status.namespace, status.name),
    )
    return job.with_offset(cluster.clock_offset())


def _search_error(
    error: KubeApiError | KubeUnreachable, expected: bool, any_expected: bool
) -> RuntimeUnavailable | None:
    """The error of a search after a scope could not be listed; None if the scope does not matter.

    `expected`: the Job should be there; `any_expected`: the search is for a Job that should be
    somewhere. If it could be anywhere, a scope that cannot be reached matters.
    """
    if isinstance(error, KubeApiError) and error.status in (401, 403):
        return LocationRefused(str(error)) if expected else None
    return RuntimeUnavailable(str(error)) if expected or not any_expected else None


def _start_failed(code: str, error: DeployctlError) -> StartFailed:
    return StartFailed(Cause(code, error.message, error.help or ""))


def _ignore_missing(request: Callable[[], object]) -> None:
    """Calls `request`; an object that does not exist is fine.

    Raises RuntimeUnavailable for all other errors, even permanent ones: rights may be granted
    again, and nothing but the worker would repeat the request.
    """
    try:
        request()
    except KubeUnreachable as error:
        raise RuntimeUnavailable(str(error)) from error
    except KubeApiError as error:
        if error.status != 404:
            raise RuntimeUnavailable(str(error)) from error


def _job_path(namespace: str, name: str) -> str:
    return f"{resource_path(WatchedKind.JOBS, namespace)}/{name}"
