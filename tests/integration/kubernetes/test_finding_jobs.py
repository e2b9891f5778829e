"""Finding Jobs in several namespaces, of which the worker may read only some."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployctl.jobs.rbac import JOBS
from deployctl.worker.model import LocationRefused, StartFailed
from deployctl.worker.runtimes.kubernetes.runtime import KubernetesRuntime
from tests.support.cluster.cluster import Cluster
from tests.support.kubernetes_jobs import job_spec, rules, runtime
from tests.support.runtime_updates import recording
from tests.support.waiting import until

FORBIDDEN = "kube-system"


@pytest.fixture
def confined(control_plane: Cluster, namespace: str) -> Iterator[KubernetesRuntime]:
    """The runtime of a worker with a Role in one namespace, as the official chart gives it."""
    config = control_plane.kubeconfig_for(rules(*JOBS), namespace)
    with runtime(config, namespace) as made:
        yield made


def locations(own: KubernetesRuntime) -> set[str]:
    return {status.location for status in own.watch_statuses()}


def test_a_namespace_that_may_not_be_listed_hides_no_other_job(
    confined: KubernetesRuntime, namespace: str
) -> None:
    with recording(confined) as recorder:
        recorder.next_list()
        job = confined.start(job_spec(namespace, secret_env=frozenset()))
        with pytest.raises(StartFailed):
            confined.start(job_spec(FORBIDDEN, "attempt-2", pool=namespace, secret_env=frozenset()))
        with pytest.raises(LocationRefused):
            confined.find("attempt-2", job_spec(FORBIDDEN, "attempt-2", pool=namespace))
        for pid in ("", f"{namespace}:job"):
            assert confined.find("attempt-3", pid=pid) is None
        assert confined.find(job.attempt, pid=job.pid) == job
        assert confined.find(job.attempt) == job


def test_a_namespace_that_may_not_be_listed_is_forgotten(
    confined: KubernetesRuntime, namespace: str
) -> None:
    with recording(confined):
        until(lambda: locations(confined) == {namespace})
        with pytest.raises(LocationRefused):
            confined.find("attempt-1", pid=f"{FORBIDDEN}:job")
        until(lambda: locations(confined) == {namespace})
        assert all(status.last_contact for status in confined.watch_statuses())


@pytest.mark.parametrize("major", [2, 3])
def test_a_job_is_found_where_it_was_created_although_its_deployment_was_moved(
    control_plane: Cluster, namespace: str, major: int
) -> None:
    settings = {"namespaces": (namespace,)}
    config = control_plane.kubeconfig
    with control_plane.namespace() as before, control_plane.namespace() as now:
        with runtime(config, namespace, settings=settings, major=major) as own:
            job = own.start(job_spec(before, pool=namespace))
        with (
            runtime(config, namespace, settings=settings, major=major) as later,
            recording(later),
        ):
            moved = job_spec(now, pool=namespace)
            assert later.find(job.attempt, moved, job.pid) == job
            assert later.find(job.attempt, moved) == job, "its namespace is watched from then on"


def test_the_pid_of_a_job_in_another_cluster_names_the_cluster(
    control_plane: Cluster, second_control_plane: Cluster, namespace: str
) -> None:
    """Its namespace may exist in the worker's own cluster, too."""
    config = second_control_plane.kubeconfig.read_text()
    with second_control_plane.namespace() as remote:
        there = {"namespace": remote, "cluster_config": {"config": config}}
        spec = job_spec(namespace, configuration=there)
        with runtime(control_plane.kubeconfig, namespace) as own:
            job = own.start(spec)
        with runtime(control_plane.kubeconfig, namespace) as later:
            with pytest.raises(LocationRefused):
                later.find(job.attempt, job_spec(namespace), job.pid)
            assert later.find(job.attempt, spec, job.pid) == job
            assert later.find(job.attempt, job_spec(namespace), job.pid) == job
