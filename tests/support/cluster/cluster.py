"""A Kubernetes that tests share: namespaces and accounts of their own, and the administrator.

`GivenCluster` is one that somebody else runs. Its nodes never get a pod of the tests, because no
scheduler serves them (`pods.SCHEDULER`); tests bind pods to a node that is there in name only, or
the cluster would take them for lost and delete them. An account's rights belong to its namespace,
so that the cluster deletes them with it.
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
"""The label of all namespaces and nodes that tests make."""
Rules = Sequence[dict[str, list[str]]]


class Cluster:
    """What tests ask of a Kubernetes; `folder` is for files, `admin` may do everything."""

    def __init__(self, admin: KubeApi, folder: Path) -> None:
        self.admin, self.folder = admin, folder
        self.kubeconfig = admin.write_kubeconfig(folder / "admin.kubeconfig")

    @property
    def uid(self) -> str:
        """The uid of the namespace kube-system: what identifies a cluster."""
        return self._uid("kube-system")

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Sends a request as the administrator; see `KubeApi.request`."""
        return self.admin.request(method, path, body)

    def account(self, rules: Rules, namespace: str, everywhere: Rules = ()) -> KubeApi:
        """A new service account with exactly these rights.

        `rules` hold in its namespace, `everywhere` in the whole cluster; both are written as in a
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
        """The kubeconfig of a new `account`."""
        path = self.folder / f"{uuid.uuid4().hex}.kubeconfig"
        return self.account(rules, namespace, everywhere).write_kubeconfig(path, namespace)

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """A new namespace for the length of a block; it and its pods are deleted afterwards."""
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
        """The metadata of an object that goes when the namespace does."""
        owner = {"apiVersion": "v1", "kind": "Namespace", "name": namespace}
        owners = [owner | {"uid": self._uid(namespace)}]
        return {"metadata": {"name": name, "ownerReferences": owners}}


class GivenCluster(Cluster):
    """The cluster of a kubeconfig, whose user may do everything; a context manager."""

    def __init__(self, kubeconfig: str) -> None:
        super().__init__(_user(kubeconfig), Path(tempfile.mkdtemp(prefix="given-cluster-")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self.folder)

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """A namespace, and the node that its `Kubelet` says to be.

        The node goes first: the cluster then ends the pods that wait for its kubelet.
        """
        with super().namespace() as name:
            meta = {"metadata": {"name": name, "labels": OURS}}
            self.request("POST", "/api/v1/nodes", meta | {"spec": {"unschedulable": True}})
            try:
                yield name
            finally:
                self.request("DELETE", f"/api/v1/nodes/{name}")


def _user(kubeconfig: str) -> KubeApi:
    """The current user of a kubeconfig, however it says who that is."""
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
