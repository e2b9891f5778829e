"""A cluster shared by tests: the administrator, and namespaces and accounts for each test.

`GivenCluster` is an existing cluster. Its nodes never get a pod of the tests, because no scheduler
handles them (`pods.SCHEDULER`). Tests bind pods to a node object without a machine; otherwise the
cluster would regard the pods as lost and delete them. The roles of an account are owned by its
namespace, so that the cluster deletes them with it.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.support.cluster.api import KubeApi
from tests.support.cluster.pki import Pair

NAMESPACES = "/api/v1/namespaces"
ROLES = "/apis/rbac.authorization.k8s.io/v1"
OURS = {"deployctl.io/tests": ""}
"""Label of all namespaces and nodes that tests create."""
Rules = Sequence[dict[str, list[str]]]


class Cluster:
    """A cluster for tests. `folder` is for files, `admin` has all rights."""

    def __init__(self, admin: KubeApi, folder: Path) -> None:
        self.admin, self.folder = admin, folder
        self.kubeconfig = admin.write_kubeconfig(folder / "admin.kubeconfig")

    @property
    def uid(self) -> str:
        """The uid of the namespace kube-system, which identifies the cluster."""
        return self._uid("kube-system")

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request as the administrator; see `KubeApi.request`."""
        return self.admin.request(method, path, body)

    def account(self, rules: Rules, namespace: str, everywhere: Rules = ()) -> KubeApi:
        """Create a service account with exactly these rights.

        `rules` apply in its namespace, `everywhere` in the whole cluster; both are written as in a
        Role: `[{"apiGroups": [...], "resources": [...], "verbs": [...]}]`.
        """
        name = f"account-{uuid.uuid4().hex[:8]}"
        meta = self._of(namespace, name)
        accounts = f"{NAMESPACES}/{namespace}/serviceaccounts"
        self.request("POST", accounts, meta)
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        for kind, where, granted in (
            ("Role", f"{ROLES}/namespaces/{namespace}/", rules),
            ("ClusterRole", f"{ROLES}/", everywhere),
        ):
            plural = kind.lower() + "s"
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
            binding = meta | {"roleRef": role, "subjects": [subject]}
            self.request("POST", f"{where}{plural}", meta | {"rules": list(granted)})
            self.request("POST", f"{where}{plural.removesuffix('s')}bindings", binding)
        token = self.request("POST", f"{accounts}/{name}/token", {"spec": {}})["status"]["token"]
        return KubeApi(self.admin.url, self.admin.authority, token=token)

    def kubeconfig_for(self, rules: Rules, namespace: str, everywhere: Rules = ()) -> Path:
        """Create an `account` and write its kubeconfig."""
        path = self.folder / f"{uuid.uuid4().hex}.kubeconfig"
        return self.account(rules, namespace, everywhere).write_kubeconfig(path, namespace)

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """A new namespace for the length of a block; deleted with its pods afterwards."""
        name = f"test-{uuid.uuid4().hex[:8]}"
        self.request("POST", NAMESPACES, {"metadata": {"name": name, "labels": OURS}})
        try:
            yield name
        finally:
            self.request("DELETE", f"/apis/batch/v1/namespaces/{name}/jobs")
            self.request("DELETE", f"{NAMESPACES}/{name}/pods?gracePeriodSeconds=0")
            self.request("DELETE", f"{NAMESPACES}/{name}")

    def _uid(self, namespace: str) -> str:
        found: str = self.request("GET", f"{NAMESPACES}/{namespace}")["metadata"]["uid"]
        return found

    def _of(self, namespace: str, name: str) -> dict[str, Any]:
        """The metadata of an object that is deleted with the namespace."""
        owner = {"apiVersion": "v1", "kind": "Namespace", "name": namespace}
        owners = [owner | {"uid": self._uid(namespace)}]
        return {"metadata": {"name": name, "ownerReferences": owners}}


class GivenCluster(Cluster):
    """The cluster of a kubeconfig whose user has all rights; a context manager."""

    def __init__(self, kubeconfig: str) -> None:
        super().__init__(_user(kubeconfig), Path(tempfile.mkdtemp(prefix="given-cluster-")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self.folder)

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """A namespace, and the node object that its `Kubelet` uses.

        The node is deleted first: the cluster then ends the pods that wait for its kubelet.
        """
        with super().namespace() as name:
            meta = {"metadata": {"name": name, "labels": OURS}}
            self.request("POST", "/api/v1/nodes", meta | {"spec": {"unschedulable": True}})
            try:
                yield name
            finally:
                self.request("DELETE", f"/api/v1/nodes/{name}")


def _user(kubeconfig: str) -> KubeApi:
    """The current user of a kubeconfig, whatever its form of credentials."""
    from kubernetes import config
    from kubernetes.client.configuration import Configuration

    library: Any = config
    found: Any = Configuration()
    library.load_kube_config(kubeconfig, None, found, persist_config=False)
    if not found.ssl_ca_cert:
        raise ValueError(f"{kubeconfig} names no certificate authority for its cluster")
    pair = Pair(Path(found.cert_file), Path(found.key_file)) if found.cert_file else None
    token = next(iter(found.api_key.values()), "").removeprefix("Bearer ")
    return KubeApi(found.host, Path(found.ssl_ca_cert), pair, token)
