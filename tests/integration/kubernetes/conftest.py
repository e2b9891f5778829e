"""A Kubernetes control plane for tests of what the worker does in one.

It goes when the last test of this folder has ended, since an idle one takes a twentieth of the
machine. The pods of tests run nowhere. A test that writes takes a `namespace` of its own.
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
    """A Kubernetes control plane, shared by all tests: the one that is given, or our own."""
    if given := os.environ.get("DEPLOYCTL_TEST_KUBECONFIG"):
        with GivenCluster(given) as cluster:
            yield cluster
    else:
        yield from _own_control_plane()


@pytest.fixture(scope="package")
def second_control_plane() -> Iterator[Cluster]:
    """Another cluster, which is always our own."""
    yield from _own_control_plane()


@pytest.fixture
def namespace(control_plane: Cluster) -> Iterator[str]:
    """A new namespace of `control_plane` for one test."""
    with control_plane.namespace() as name:
        yield name


@pytest.fixture
def kubelet(control_plane: Cluster, namespace: str) -> Kubelet:
    """Moves the pods of `namespace`, which run nowhere."""
    return Kubelet(control_plane.admin, namespace)


class MakeKubeProxy(Protocol):
    def __call__(self, api: KubeApi | None = None) -> KubeProxy: ...


@pytest.fixture
def kube_proxy(
    control_plane: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeKubeProxy]:
    """`kube_proxy(api)` gives a `KubeProxy` that acts as `api`, or as the administrator.

    Its kubeconfig has `namespace` for its own.
    """
    with ExitStack() as open_proxies:

        def make(api: KubeApi | None = None) -> KubeProxy:
            path = tmp_path_factory.mktemp("kube-proxy") / "kubeconfig"
            made = KubeProxy(api or control_plane.admin, path, namespace)
            return open_proxies.enter_context(made)

        yield make


@pytest.fixture
def bench(
    server: Server,
    control_plane: Cluster,
    namespace: str,
    kube_proxy: MakeKubeProxy,
    tmp_path: Path,
) -> Iterator[WorkerHarness]:
    """A pool of its own on each server in turn, and a namespace, with a proxy before both."""
    with Api(server.api_url) as api, Proxy(server.api_url) as proxy:
        yield WorkerHarness(api, proxy, kube_proxy(), control_plane.admin, namespace, tmp_path)
