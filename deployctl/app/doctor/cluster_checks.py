"""Checks of the cluster: the connection, and in each namespace with jobs rights, quota, secrets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from deployctl.app.doctor.jobs import JobNeeds
from deployctl.app.doctor.model import Area, Check, failed, failed_with, ok, skipped
from deployctl.clients.kubeconfig import ClusterConfigError, connect
from deployctl.clients.kubernetes import METADATA_ONLY, KubeApiError, KubeClient, KubeUnreachable
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.core.suggest import quoted
from deployctl.jobs import rbac
from deployctl.jobs.rbac import Rule

T = TypeVar("T")

_CONNECTIONS = 8
_ZERO = re.compile(r"0+(\.0+)?[A-Za-z]*")
_LIMITED = re.compile(r"(count/)?pods|count/jobs\.batch|((requests|limits)\.)?(cpu|memory)")
"""Resources of quotas that every job needs."""
_DEFAULT_ACCOUNT = "default"
LOST = {
    rbac.SECRETS: "secret values stand in the manifests of jobs",
    rbac.EVENTS: "why a job gets no pod is not reported",
    rbac.LEASES: "every replica observes all jobs",
    rbac.IDENTITY: "the cluster is identified by its certificate authority",
}
"""Optional rights → what is different without them."""


@dataclass(frozen=True, slots=True)
class ClusterReading:
    """The cluster that this machine or pod is configured for."""

    kube: KubeClient | None = None
    version: str = ""
    error: DeployctlError | None = None
    configured: bool = True


@dataclass(frozen=True, slots=True)
class NamespaceReading:
    """What a namespace has, and what this user may do in it. None: the user may not read it."""

    name: str
    exists: bool = True
    rights: Mapping[tuple[Rule, str], bool] | None = field(default_factory=dict)
    quotas: Sequence[Json] | None = ()
    accounts: Mapping[str, Json] | None = field(default_factory=dict)
    """Service accounts of jobs; an empty value: it does not exist."""
    secrets: Mapping[str, bool] | None = field(default_factory=dict)
    """Image pull secrets of jobs → whether they exist."""


def read_cluster(environ: Mapping[str, str], seconds: float) -> ClusterReading:
    """Connects as a worker does, and asks for the version of the cluster."""
    kubeconfig = environ.get("KUBECONFIG", "")
    try:
        kube = connect(kubeconfig)
    except ClusterConfigError as error:
        exists = bool(kubeconfig) or Path("~/.kube/config").expanduser().exists()
        return ClusterReading(error=error, configured=exists)
    try:
        version = kube.request("GET", "/version", timeout=seconds)
        # Anyone may read the version: only this shows whether the credentials are accepted.
        _may(kube, Rule("", "pods", ()), "list", kube.namespace, seconds)
    except (KubeApiError, KubeUnreachable) as error:
        return ClusterReading(kube, error=error)
    return ClusterReading(kube, str(version.get("gitVersion") or ""))


def context_check(found: ClusterReading) -> Check:
    """Judges the connection to the cluster."""
    if found.kube is None:
        if found.error is None or not found.configured:
            return skipped(Area.CLUSTER, "context", "this is not a pod, and there is no kubeconfig")
        return failed_with(Area.CLUSTER, "context", found.error)
    if found.error:
        fix = "`kubectl version` shows the same error if the kubeconfig is wrong."
        cause = f"{found.error.message} ({found.kube.source})"
        return failed(Area.CLUSTER, "context", cause, fix)
    return ok(
        Area.CLUSTER,
        "context",
        f"{found.kube.source}, Kubernetes {found.version}; rights are those of this user",
    )


def read_namespace(
    kube: KubeClient, name: str, needs: Iterable[JobNeeds], seconds: float
) -> NamespaceReading:
    """Reads what jobs in a namespace need. Raises KubeUnreachable, and KubeApiError but for 403."""
    with ThreadPoolExecutor(_CONNECTIONS, f"namespace {name}") as pool:
        asked = [(rule, verb) for rule in rbac.IN_JOB_NAMESPACES for verb in rule.verbs]
        answers = pool.map(lambda each: _may(kube, each[0], each[1], name, seconds), asked)
        rights = dict(zip(asked, answers, strict=True))
    if not _exists(kube, name, rights[rbac.JOBS[0], "create"], seconds):
        return NamespaceReading(name, exists=False)
    base = f"/api/v1/namespaces/{name}"
    get = partial(kube.request, "GET", timeout=seconds)
    quotas = _unless_forbidden(lambda: get(f"{base}/resourcequotas")["items"])
    accounts: dict[str, Json] = {}
    secrets = {secret for each in needs for secret in each.pull_secrets}
    for account in {each.service_account or _DEFAULT_ACCOUNT for each in needs}:
        found = _unless_forbidden(
            partial(_object, kube, f"{base}/serviceaccounts/{account}", seconds)
        )
        if found is not None:
            accounts[account] = found
            secrets |= {str(each.get("name")) for each in found.get("imagePullSecrets") or ()}
    existing: dict[str, bool] | None = {}
    for secret in secrets:
        query = {"fieldSelector": f"metadata.name={secret}"}
        listed = _unless_forbidden(
            partial(get, f"{base}/secrets", query=query, accept=METADATA_ONLY)
        )
        if listed is None:
            existing = None
            break
        assert existing is not None
        existing[secret] = bool(listed["items"])
    return NamespaceReading(name, True, rights, quotas, accounts, existing)


def read_rights(
    kube: KubeClient, rules: Sequence[Rule], namespace: str, seconds: float
) -> dict[tuple[Rule, str], bool]:
    """What this user may do. Raises like `KubeClient.request`."""
    return {
        (rule, verb): _may(kube, rule, verb, "" if rule.everywhere else namespace, seconds)
        for rule in rules
        for verb in rule.verbs
    }


def namespace_checks(found: NamespaceReading, fix: str) -> Iterator[Check]:
    """Judges a namespace with jobs. `fix`: the command that grants the rights of a worker."""
    name = found.name
    if not found.exists:
        yield failed(
            Area.CLUSTER,
            f"{name}: namespace",
            f"there is no namespace '{name}', where jobs are to run",
            f"`kubectl create namespace {name}`, or set the job variable `namespace`.",
        )
        return
    yield ok(Area.CLUSTER, f"{name}: namespace", "exists")
    yield from rights_checks(name, rbac.IN_JOB_NAMESPACES, found.rights or {}, fix)
    yield quota_check(name, found.quotas)
    for account, body in (found.accounts or {}).items():
        if not body:
            yield failed(
                Area.CLUSTER,
                f"{name}: service account {account}",
                f"the namespace '{name}' has no service account '{account}'",
                f"`kubectl -n {name} create serviceaccount {account}`",
            )
    if found.secrets is None:
        reason = "this user may not list secrets"
        yield skipped(Area.CLUSTER, f"{name}: image pull secrets", reason)
    for secret, exists in (found.secrets or {}).items():
        check = f"{name}: image pull secret {secret}"
        if exists:
            yield ok(Area.CLUSTER, check, "exists")
            continue
        yield failed(
            Area.CLUSTER,
            check,
            f"the namespace '{name}' has no secret '{secret}', with which jobs pull their image",
            f"`kubectl -n {name} create secret docker-registry {secret} --docker-server=… "
            "--docker-username=… --docker-password=…`",
        )


def rights_checks(
    namespace: str, rules: Sequence[Rule], rights: Mapping[tuple[Rule, str], bool], fix: str
) -> Iterator[Check]:
    """One check for each rule; an optional right that is missing is no failure."""
    for rule in rules:
        name = f"{namespace}: {rule.resource}"
        missing = [verb for verb in rule.verbs if not rights.get((rule, verb))]
        if not missing:
            yield ok(Area.CLUSTER, name, ", ".join(rule.verbs))
            continue
        may_not = f"this user may not {', '.join(missing)} {rule.resource}"
        lost = next((text for rules_, text in LOST.items() if rule in rules_), None)
        if lost:
            yield skipped(Area.CLUSTER, name, f"optional: {may_not}, so {lost}", fix)
        else:
            yield failed(Area.CLUSTER, name, f"{may_not} in the namespace '{namespace}'", fix)


def quota_check(namespace: str, quotas: Sequence[Json] | None) -> Check:
    """Judges the quotas of a namespace: one that allows nothing is a failure.

    One that is used up for now is not: it limits how much runs at once. Quotas with scopes are left
    out, because they may not apply to the pods of jobs.
    """
    name = f"{namespace}: quota"
    if quotas is None:
        return skipped(Area.CLUSTER, name, "this user may not list resource quotas")
    for quota in quotas:
        spec = quota.get("spec") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue
        none = [
            resource
            for resource, amount in (spec.get("hard") or {}).items()
            if _LIMITED.fullmatch(resource) and _ZERO.fullmatch(str(amount))
        ]
        if none:
            own = quota["metadata"]["name"]
            return failed(
                Area.CLUSTER,
                name,
                f"the quota '{own}' of the namespace '{namespace}' allows none of {quoted(none)}",
                f"`kubectl -n {namespace} edit resourcequota {own}` changes it.",
            )
    listed = quoted([quota["metadata"]["name"] for quota in quotas])
    return ok(Area.CLUSTER, name, listed or "none")


def _may(kube: KubeClient, rule: Rule, verb: str, namespace: str, seconds: float) -> bool:
    resource, _, subresource = rule.resource.partition("/")
    attributes = {
        "namespace": namespace,
        "verb": verb,
        "group": rule.group,
        "resource": resource,
        "subresource": subresource,
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = kube.request("POST", path, body=body, timeout=seconds)
    return bool(answer["status"].get("allowed"))


def _exists(kube: KubeClient, name: str, may_create: bool, seconds: float) -> bool:
    """Whether a namespace exists.

    A worker may not read it, and lists in a missing namespace are empty. So it asks what would
    become of a Job, in a dry run that stores nothing; any answer but 404 comes from a namespace.
    """
    try:
        return bool(_object(kube, f"/api/v1/namespaces/{name}", seconds))
    except KubeApiError as error:
        if error.status != 403:
            raise
    if not may_create:
        return True
    container = {"name": "check", "image": "check"}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "deployctl-doctor-"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }
    path = f"/apis/batch/v1/namespaces/{name}/jobs"
    try:
        kube.request("POST", path, query={"dryRun": "All"}, body=job, timeout=seconds)
    except KubeApiError as error:
        return error.status != 404
    return True


def _object(kube: KubeClient, path: str, seconds: float) -> Json:
    """The object at a path; an empty mapping if there is none."""
    try:
        return kube.request("GET", path, timeout=seconds)
    except KubeApiError as error:
        if error.status == 404:
            return {}
        raise


def _unless_forbidden(request: Callable[[], T]) -> T | None:
    """The result of a request; None if this user may not send it."""
    try:
        return request()
    except KubeApiError as error:
        if error.status == 403:
            return None
        raise
