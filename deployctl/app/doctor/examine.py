"""Makes all checks of `deployctl doctor`: rounds of parallel readings, each bounded in time.

The first round needs nothing, the second the server; the others need what the server says about
jobs: the connection to the cluster, then its namespaces and the registries.
A check whose answer would follow from another failure is left out or skipped, so that each fault is
named once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from deployctl.api.session import Session
from deployctl.api.settings import Settings, load_settings
from deployctl.app.deploying.project_file import read_name_and_server
from deployctl.app.doctor import cluster_checks, image_checks
from deployctl.app.doctor.jobs import JobNeeds, job_needs
from deployctl.app.doctor.model import (
    Area,
    Check,
    Reading,
    failed,
    failed_with,
    read_all,
    skipped,
)
from deployctl.app.doctor.pool_checks import PoolFindings, examine_pools
from deployctl.app.doctor.project_checks import ProjectFindings, examine_project
from deployctl.app.doctor.server_checks import ServerFindings, clock_check, examine_server
from deployctl.clients.kubernetes import KubeClient
from deployctl.core.cancellation import CancellationToken
from deployctl.core.diagnostics import Report
from deployctl.core.errors import DeployctlError
from deployctl.core.retry import Backoff
from deployctl.images.credentials import CredentialStore
from deployctl.images.distribution import Registries
from deployctl.jobs import rbac
from deployctl.project.document import read_document
from deployctl.worker.runtimes import RuntimeKind

_GRACE = 1.0
"""Seconds that a round takes longer than a request in it, so that the request's own error shows."""
_RETRIES = 2
"""A server with SQLite answers 503 while it is busy."""
_MAX_IMAGES = 20
"""Images that are looked for, at most."""


_Readings: TypeAlias = dict[str, tuple[Area, Callable[[], Iterable[Check]]]]
"""Name → what it is about, and the function that reads and judges it."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What to examine, and from where."""

    environ: Mapping[str, str]
    file: Path
    api_url: str | None = None
    profile: str | None = None
    pool: str | None = None
    """None: the pools of the file, else all."""
    environment: str | None = None
    """The environment of the file."""
    timeout: float = 5.0
    """Seconds for each request; a round of checks takes a second more at most."""

    @property
    def in_pod(self) -> bool:
        """Whether this runs in a pod."""
        return "KUBERNETES_SERVICE_HOST" in self.environ


def examine(what: Examination, stop: CancellationToken) -> list[Check]:
    """All checks, in the order of their areas. Raises Interrupted."""
    with ExitStack() as stack:
        checks = list(_checks(what, stop, stack))
    areas = list(Area)
    return sorted(checks, key=lambda check: areas.index(check.area))


def _checks(what: Examination, stop: CancellationToken, stack: ExitStack) -> Iterator[Check]:
    settings = _settings(what)
    known = settings if isinstance(settings, Settings) else Settings()
    session = None
    if known.api_url:
        session = stack.enter_context(Session(known, cancellation=stop))
    first: dict[str, Callable[[], Any]] = {
        "project": partial(
            examine_project,
            what.file,
            what.environ,
            known.docker_build_namespace,
            what.environment,
        ),
        "docker engine": partial(image_checks.read_engine, what.timeout),
        "buildx": partial(image_checks.read_buildx, what.environ, what.timeout),
    }
    if session:
        first["server"] = partial(examine_server, session)
    found = read_all(first, what.timeout + _GRACE, stop)
    project: ProjectFindings = found["project"].value or ProjectFindings(
        (_late(Area.PROJECT, "file", what),)
    )
    yield from project.checks
    server = _server(settings, found.get("server"), what)
    yield from server.checks
    yield image_checks.engine_check(found["docker engine"], project, in_pod=what.in_pod)
    yield image_checks.buildx_check(found["buildx"], project)
    pools = _pools(session if server.answers else None, project, what, stop)
    yield from pools.checks
    needs = job_needs(pools.pools, pools.deployments, what.environ)
    registries = stack.enter_context(
        Registries(CredentialStore(what.environ), stop, backoff=Backoff(tries=1))
    )
    kube = yield from _cluster(pools, what, stop, stack)
    last = _image_readings(project, needs, registries)
    last |= _cluster_readings(kube, pools, needs, what)
    readings = {name: partial(_listed, each) for name, (_, each) in last.items()}
    for name, reading in read_all(readings, what.timeout + _GRACE, stop).items():
        yield from reading.value or (_late(last[name][0], name, what),)


def server_options(what: Examination) -> tuple[str | None, str | None]:
    """API URL and profile: those of the options, else of the environment."""
    if what.environment and not (what.api_url or what.profile) and what.file.exists():
        unused = Report()  # the check of the file reports the same
        document = read_document(what.file, unused)
        found = document and read_name_and_server(
            what.file, document, what.environment, what.environ, unused
        )
        if found and found.environment:
            return found.environment.api_url, found.environment.profile
    return what.api_url, what.profile


def _settings(what: Examination) -> Settings | DeployctlError:
    try:
        api_url, profile = server_options(what)
        settings = load_settings(
            what.environ, Path.cwd(), flags={"api_url": api_url}, profile=profile
        )
        settings.server_url()
    except DeployctlError as error:
        return error
    seconds = min(settings.request_timeout, what.timeout)
    return replace(settings, request_timeout=seconds, max_retries=_RETRIES)


def _server(
    settings: Settings | DeployctlError, found: Reading[Any] | None, what: Examination
) -> ServerFindings:
    if isinstance(settings, DeployctlError):
        return ServerFindings((failed_with(Area.SERVER, "settings", settings),))
    if found is None or found.value is None:
        return ServerFindings((_late(Area.SERVER, "connection", what),))
    server: ServerFindings = found.value
    return server


def _pools(
    session: Session | None, project: ProjectFindings, what: Examination, stop: CancellationToken
) -> PoolFindings:
    if session is None:
        return PoolFindings((skipped(Area.POOLS, "pools", "the server cannot be asked"),))
    now = datetime.fromtimestamp(session.server_clock(), UTC)
    reading = {"pools": lambda: examine_pools(session, what.pool, project, now)}
    found = read_all(reading, what.timeout + _GRACE, stop)["pools"].value
    return found or PoolFindings((_late(Area.POOLS, "pools", what),))


def _cluster(
    pools: PoolFindings, what: Examination, stop: CancellationToken, stack: ExitStack
) -> Generator[Check, None, KubeClient | None]:
    """Yields the checks of the connection; returns the cluster if it can be asked for more.

    Without a pool that needs it, no program that a kubeconfig names for credentials is run.
    """
    if not any(pool["type"] == RuntimeKind.KUBERNETES for pool in pools.pools):
        reason = "none of the work pools runs jobs in Kubernetes"
        yield skipped(Area.CLUSTER, "context", reason)
        return None
    reading = {"": partial(cluster_checks.read_cluster, what.environ, what.timeout)}
    found = read_all(reading, what.timeout + _GRACE, stop)[""].value
    if found is None:
        yield _late(Area.CLUSTER, "context", what)
        return None
    yield cluster_checks.context_check(found)
    if found.kube is None:
        return None
    stack.callback(found.kube.close)
    if found.error:
        return None
    yield clock_check(Area.CLUSTER, "the cluster", found.kube.clock.offset)
    return found.kube


def _image_readings(
    project: ProjectFindings, needs: Iterable[JobNeeds], registries: Registries
) -> _Readings:
    readings: _Readings = {}
    for image in project.pushes:
        push = partial(image_checks.push_checks, image, registries)
        readings[f"push to {image}"] = (Area.IMAGES, push)
    images = sorted({each.image for each in needs if each.image and not each.local})
    for image in images[:_MAX_IMAGES]:
        look = partial(image_checks.image_checks, image, registries)
        readings[f"image {image}"] = (Area.IMAGES, look)
    return readings


def _cluster_readings(
    kube: KubeClient | None, pools: PoolFindings, needs: Iterable[JobNeeds], what: Examination
) -> _Readings:
    if kube is None:
        return {}
    own = [each for each in needs if each.own_cluster]
    pool = next(each["name"] for each in pools.pools if each["type"] == RuntimeKind.KUBERNETES)
    readings: _Readings = {}
    for namespace in sorted({each.namespace or kube.namespace for each in own}):
        inside = [each for each in own if (each.namespace or kube.namespace) == namespace]
        fix = (
            f"`deployctl manifests worker --pool {pool} --namespace {kube.namespace} "
            f"--job-namespace {namespace} | kubectl apply -f -` grants the rights of a worker."
        )
        read = partial(_namespace, kube, namespace, inside, fix, what.timeout)
        readings[f"{namespace}: namespace"] = (Area.CLUSTER, read)
    readings["rights of the worker"] = (Area.CLUSTER, partial(_own_rights, kube, pool, what))
    return readings


def _namespace(
    kube: KubeClient, namespace: str, needs: Iterable[JobNeeds], fix: str, seconds: float
) -> Iterable[Check]:
    try:
        found = cluster_checks.read_namespace(kube, namespace, needs, seconds)
    except DeployctlError as error:
        return (failed_with(Area.CLUSTER, f"{namespace}: namespace", error),)
    return tuple(cluster_checks.namespace_checks(found, fix))


def _own_rights(kube: KubeClient, pool: str, what: Examination) -> Iterable[Check]:
    """The rights that a worker needs outside of the namespaces with jobs; all are optional."""
    rules = (*rbac.IN_OWN_NAMESPACE, *rbac.IDENTITY)
    fix = f"`deployctl manifests worker --pool {pool} | kubectl apply -f -` grants it."
    try:
        rights = cluster_checks.read_rights(kube, rules, kube.namespace, what.timeout)
    except DeployctlError as error:
        return (failed_with(Area.CLUSTER, "rights of the worker", error),)
    return tuple(cluster_checks.rights_checks(kube.namespace, rules, rights, fix))


def _listed(reading: Callable[[], Iterable[Check]]) -> tuple[Check, ...]:
    return tuple(reading())


def _late(area: Area, name: str, what: Examination) -> Check:
    cause = f"there was no answer within {what.timeout:g} s"
    return failed(area, name, cause, "Try again, with a longer --timeout if the network is slow.")
