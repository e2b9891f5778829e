"""Service account, Roles and bindings of a worker: a Role per namespace, no more than it uses."""

from __future__ import annotations

from collections.abc import Sequence

from deployctl.core.json_values import Json
from deployctl.jobs.rbac import IDENTITY, IN_JOB_NAMESPACES, IN_OWN_NAMESPACE, Rule
from deployctl.manifests.settings import WorkerManifest

_RBAC = "rbac.authorization.k8s.io"


def access_objects(worker: WorkerManifest) -> list[Json]:
    """The objects that let the worker use the API of the cluster."""
    values = worker.values
    objects = []
    if values["serviceAccount"]["create"]:
        account = worker.service_account
        annotations = values["serviceAccount"]["annotations"]
        objects.append(worker.object("v1", "ServiceAccount", name=account, annotations=annotations))
    cluster_wide = values["worker"]["config"]["observerClusterWide"]
    grants = {worker.namespace: _rules(IN_OWN_NAMESPACE)}
    for namespace in () if cluster_wide else worker.job_namespaces:
        grants[namespace] = _rules(IN_JOB_NAMESPACES) + grants.get(namespace, [])
    extra = values["role"]["extraPermissions"]
    for namespace, rules in grants.items():
        objects += _role(worker, "", [*rules, *extra], namespace)
    if cluster_wide:
        objects += _role(worker, "Cluster", _rules((*IN_JOB_NAMESPACES, *IDENTITY)))
    return objects


def _role(
    worker: WorkerManifest, scope: str, rules: Sequence[Json], namespace: str | None = None
) -> list[Json]:
    """A Role or ClusterRole and its binding, as far as the values ask for them."""
    # A ClusterRole has no namespace, so its name carries that of the worker.
    name = worker.name if namespace else f"{worker.namespace}-{worker.name}"
    version = f"{_RBAC}/v1"
    role = worker.object(version, f"{scope}Role", name=name, namespace=namespace)
    binding = worker.object(version, f"{scope}RoleBinding", name=name, namespace=namespace)
    reference = {"apiGroup": _RBAC, "kind": f"{scope}Role", "name": name}
    subject = {
        "kind": "ServiceAccount",
        "name": worker.service_account,
        "namespace": worker.namespace,
    }
    found = []
    if worker.values["role"]["create"]:
        found.append(role | {"rules": list(rules)})
    if worker.values["rolebinding"]["create"]:
        found.append(binding | {"roleRef": reference, "subjects": [subject]})
    return found


def _rules(rules: Sequence[Rule]) -> list[Json]:
    return [each.rule() for each in rules]
