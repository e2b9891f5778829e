"""A real API server accepts all manifests, and the Roles grant what is needed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from deployctl.app.operating.generated_password import ensure_password
from deployctl.cli.render.manifests import manifests
from deployctl.clients.kubeconfig import connect
from deployctl.clients.kubernetes import KubeApiError
from deployctl.core.json_values import Json
from deployctl.jobs.rbac import IDENTITY, IN_JOB_NAMESPACES, IN_OWN_NAMESPACE
from deployctl.manifests.components import StackSettings
from deployctl.manifests.stack import stack_objects, stack_values
from deployctl.manifests.values import default_values, merged
from tests.support.cluster import tools
from tests.support.cluster.api import KubeApi
from tests.support.cluster.cluster import Cluster
from tests.support.manifest_cases import CASES, Case, render
from tests.support.stack_cases import STACK_CASES, StackCase

ROOT = Path(__file__).parents[3]
RESOURCES = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Service": "/api/v1/namespaces/{}/services",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_api_server_accepts_the_manifests(control_plane: Cluster, case: Case) -> None:
    check_accepted(control_plane, render(case.values))


@pytest.mark.parametrize("case", STACK_CASES, ids=lambda case: case.id)
def test_api_server_accepts_the_manifests_of_a_stack(
    control_plane: Cluster, case: StackCase
) -> None:
    check_accepted(control_plane, case.render())


def test_api_server_accepts_the_manifests_of_the_documentation(control_plane: Cluster) -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    found = [yaml.safe_load(each) for each in re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S)]
    assert [each["kind"] for each in found] == ["Job", "CronJob"]
    for each in found:
        each["metadata"]["namespace"] = "default"
    check_accepted(control_plane, found)


def check_accepted(cluster: Cluster, objects: Sequence[Json]) -> None:
    """Sends each object with a dry run, and with strict validation of its fields."""
    for each in objects:
        path = RESOURCES[each["kind"]].format(each["metadata"].get("namespace"))
        cluster.admin.request("POST", f"{path}?dryRun=All&fieldValidation=Strict", each)


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


def test_password_of_a_stack_is_kept_when_it_is_applied_again(
    control_plane: Cluster, namespace: str, tmp_path: Path
) -> None:
    """As the account of the database, which may read and patch no other Secret."""
    programs = tools.folder(("kubectl",))
    if programs is None:
        pytest.skip(tools.lacks(("kubectl",)))
    values = {"namespaceOverride": namespace, "worker": {"config": {"workPool": "p"}}}
    objects = stack_objects(
        stack_values(merged(default_values(), values)), StackSettings(project_image="etl:1")
    )
    kubectl = [str(programs / "kubectl"), f"--kubeconfig={control_plane.kubeconfig}"]
    secrets = RESOURCES["Secret"].format(namespace)

    def apply() -> None:
        subprocess.run(
            [*kubectl, "apply", "-f", "-"], input=manifests(objects), text=True, check=True
        )

    def password() -> str:
        secret = control_plane.admin.request("GET", f"{secrets}/prefect-database")
        return str(secret["data"]["password"])

    apply()
    account = f"{RESOURCES['ServiceAccount'].format(namespace)}/prefect-database"
    token = control_plane.admin.request("POST", f"{account}/token", {"spec": {}})
    admin = control_plane.admin
    api = KubeApi(admin.url, admin.authority, token=token["status"]["token"])
    kube = connect(str(api.write_kubeconfig(tmp_path / "kubeconfig", namespace)))
    assert ensure_password(kube, "prefect-database", "password")
    first = password()
    apply()
    assert not ensure_password(kube, "prefect-database", "password")
    assert password() == first
    control_plane.admin.request("POST", secrets, {"metadata": {"name": "other"}})
    with pytest.raises(KubeApiError, match="forbidden"):
        ensure_password(kube, "other", "password")
    kube.close()
