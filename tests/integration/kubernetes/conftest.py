"""A Kubernetes control plane for tests of the worker.

It is stopped after the last test of this folder, because an idle one takes a twentieth of the
machine. Pods do not really run. A test that writes uses its own `namespace`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.api import Api
from tests.support.cluster import tools
from tests.support.cluster.api import KubeApi
from tests.support.cluster.cluster import Cluster, GivenCluster
from tests.support.cluster.control_plane import ControlPlane
from tests.support.cluster.pods import Kubelet
from tests.support.cluster.proxy import KubeProxy
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.worker_harness import WorkerHarness


def _own_control_plane() -> Iterator[Cluster]:
    if reason := tools.lacks():
        pytest.skip(reason)
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="package")
def control_plane() -> Iterator[Cluster]:
    """The control plane that all tests share: the given one, or our own."""
    if given := os.environ.get("DEPLOYCTL_TEST_KUBECONFIG"):
        with GivenCluster(given) as cluster:
            yield cluster
    else:
        yield from _own_control_plane()


@pytest.fixture(scope="package")
def second_control_plane() -> Iterator[Cluster]:
    """A second cluster, always our own."""
    yield from _own_control_plane()


@pytest.fixture
def namespace(control_plane: Cluster) -> Iterator[str]:
    """A new namespace of `control_plane` for one test."""
    with control_plane.namespace() as name:
        yield name


@pytest.fixture
def kubelet(control_plane: Cluster, namespace: str) -> Kubelet:
    """Sets the status of the pods of `namespace`."""
    return Kubelet(control_plane.admin, namespace)


class MakeKubeProxy(Protocol):
    def __call__(self, api: KubeApi | None = None) -> KubeProxy: ...


@pytest.fixture
def kube_proxy(
    control_plane: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeKubeProxy]:
    """`kube_proxy(api)` returns a `KubeProxy` that acts as `api`, or as the administrator.

    `namespace` is the current namespace of its kubeconfig.
    """
    with ExitStack() as open_proxies:

        def make(api: KubeApi | None = None) -> KubeProxy:
            path = tmp_path_factory.mktemp("kube-proxy") / "kubeconfig"
            made = KubeProxy(api or control_plane.admin, path, namespace)
            return open_proxies.enter_context(made)

        yield make


@pytest.fixture
def proxy(kube_proxy: MakeKubeProxy) -> KubeProxy:
    """A proxy that acts as the administrator."""
    return kube_proxy()


@pytest.fixture
def harness(
    server: Server,
    control_plane: Cluster,
    namespace: str,
    kube_proxy: MakeKubeProxy,
    tmp_path: Path,
) -> Iterator[WorkerHarness]:
    """A pool on each server in turn, and a namespace, with a proxy in front of both."""
    with Api(server.api_url) as api, Proxy(server.api_url) as proxy:
        yield WorkerHarness(api, proxy, kube_proxy(), control_plane.admin, namespace, tmp_path)
