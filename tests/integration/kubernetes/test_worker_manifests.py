"""A real API server accepts all manifests of a worker, and the Roles grant what it needs."""

from __future__ import annotations

import pytest

from deployctl.jobs.rbac import IDENTITY, IN_JOB_NAMESPACES, IN_OWN_NAMESPACE
from tests.support.cluster.cluster import Cluster
from tests.support.manifest_cases import CASES, Case, render

RESOURCES = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Service": "/api/v1/namespaces/{}/services",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_api_server_accepts_the_manifests(control_plane: Cluster, case: Case) -> None:
    for each in render(case.values):
        path = RESOURCES[each["kind"]].format(each["metadata"].get("namespace"))
        control_plane.admin.request("POST", f"{path}?dryRun=All&fieldValidation=Strict", each)


@pytest.mark.parametrize("cluster_wide", [False, True])
def test_worker_may_do_what_it_needs_and_no_more(
    control_plane: Cluster, namespace: str, cluster_wide: bool
) -> None:
    config = {"observerClusterWide": cluster_wide}
    values = {"namespaceOverride": namespace, "worker": {"config": config}}
    for each in render(values):
        if each["kind"] not in ("Deployment", "ConfigMap"):
            path = RESOURCES[each["kind"]].format(namespace)
            control_plane.admin.request("POST", path, each)

    def allowed(group: str, resource: str, verb: str, where: str) -> bool:
        name, _, subresource = resource.partition("/")
        attributes = {
            "group": group,
            "resource": name,
            "subresource": subresource,
            "verb": verb,
            "namespace": where,
        }
        user = f"system:serviceaccount:{namespace}:deployctl-worker-my-pool"
        review = control_plane.admin.request(
            "POST",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {"user": user, "resourceAttributes": attributes},
            },
        )
        return bool(review["status"]["allowed"])

    for each in (*IN_JOB_NAMESPACES, *IN_OWN_NAMESPACE, *IDENTITY):
        expected = each not in IDENTITY or cluster_wide
        for verb in each.verbs:
            assert allowed(each.group, each.resource, verb, namespace) is expected, (each, verb)
    assert allowed("batch", "jobs", "create", "kube-system") is cluster_wide
    assert not allowed("", "secrets", "get", namespace)
    assert not allowed("", "pods", "delete", namespace)
