"""The Kubernetes client against a real API server."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from deployctl.clients import kubeconfig
from deployctl.clients.kubeconfig import ClusterConfigError
from deployctl.clients.kubernetes import KubeApiError, KubeClient, KubeUnreachable, watch_events
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.proxy import KubeProxy
from tests.support.waiting import TIMEOUT

MAPS = "/api/v1/namespaces/{}/configmaps"


@pytest.fixture
def kube(proxy: KubeProxy) -> Iterator[KubeClient]:
    opened = kubeconfig.connect(str(proxy.kubeconfig))
    yield opened
    opened.close()


def make_maps(kube: KubeClient, namespace: str, count: int) -> None:
    for number in range(count):
        body = {"metadata": {"name": f"map-{number}", "labels": {"of": "test"}}}
        kube.request("POST", MAPS.format(namespace), body=body)


def test_paged_list_restarts_when_its_pages_expire(
    kube: KubeClient, proxy: KubeProxy, namespace: str
) -> None:
    make_maps(kube, namespace, 5)
    proxy.answer(410, query="continue=.", path="maps$")
    listing = kube.list_objects(
        MAPS.format(namespace), "of=test", lambda item: item["metadata"]["name"], limit=2
    )

    assert sorted(listing.items) == [f"map-{number}" for number in range(5)]
    assert len(proxy.seen("GET", "maps$")) == 2 + 3


def test_watch_continues_a_list_and_can_be_aborted(kube: KubeClient, namespace: str) -> None:
    path = MAPS.format(namespace)
    listing = kube.list_objects(path, "of=test", dict)
    received: queue.Queue[str] = queue.Queue()
    with kube.watch(path, "of=test", listing.resource_version, TIMEOUT) as stream:

        def read_events() -> None:
            for kind, item in watch_events(stream):
                received.put(f"{kind} {item['metadata']['name']}")

        thread = threading.Thread(target=read_events)
        thread.start()
        make_maps(kube, namespace, 1)
        assert received.get(timeout=TIMEOUT) == "ADDED map-0"
        stream.abort()
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("fault", "sent"), [("refuse", True), ("drop_answer", True), ("gone", False)]
)
def test_unreachable_error_says_whether_the_request_was_sent(
    kube: KubeClient, proxy: KubeProxy, fault: str, sent: bool
) -> None:
    if fault == "gone":
        proxy.stop_after(len(proxy.exchanges))
    else:
        getattr(proxy, fault)()
    with pytest.raises(KubeUnreachable) as lost:
        kube.request("GET", "/version")
    assert lost.value.sent is sent


def test_silent_server_times_out(kube: KubeClient, proxy: KubeProxy) -> None:
    proxy.hang()
    with pytest.raises(KubeUnreachable, match="sent no data"):
        kube.request("GET", "/version", timeout=2.0)


def test_answer_that_is_not_json_is_an_error(kube: KubeClient) -> None:
    assert kube.read_log("/healthz", {}) == "ok"
    with pytest.raises(KubeUnreachable, match="not JSON"):
        kube.request("GET", "/healthz")


def test_api_error_has_the_servers_message(kube: KubeClient, namespace: str) -> None:
    with pytest.raises(KubeApiError) as refused:
        kube.request("GET", MAPS.format(namespace) + "/none")
    assert (refused.value.status, refused.value.reason) == (404, "NotFound")
    assert 'configmaps "none" not found' in str(refused.value)


def test_api_error_has_retry_after(kube: KubeClient, proxy: KubeProxy) -> None:
    proxy.answer(429, headers={"Retry-After": "7"})
    with pytest.raises(KubeApiError) as refused:
        kube.request("GET", "/version")
    assert refused.value.retry_after == 7
    assert refused.value.is_retryable


def test_tls_with_certificate_and_token(control_plane: Cluster, namespace: str) -> None:
    reads = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    token = control_plane.kubeconfig_for(reads, namespace)
    for opened in (
        kubeconfig.connect(str(control_plane.kubeconfig)),
        kubeconfig.connect(str(token)),
        kubeconfig.connect_with_config(token.read_text(), None),
        kubeconfig.connect_with_config(json.loads(token.read_text()), "test"),
    ):
        assert opened.request("GET", MAPS.format(namespace))["kind"] == "ConfigMapList"
        opened.close()


@pytest.mark.parametrize("context", [None, "another"])
def test_invalid_configuration_is_reported(context: str | None) -> None:
    with pytest.raises(ClusterConfigError, match="cluster_config"):
        kubeconfig.connect_with_config({"contexts": []}, context)


@pytest.mark.parametrize("text", [None, "a: [", "- 1", "contexts: 5"])
def test_missing_cluster_is_reported_with_help(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ClusterConfigError) as none:
        kubeconfig.connect(str(file))
    assert "KUBECONFIG" in (none.value.help or "")


@pytest.mark.skipif(
    int(version("kubernetes").partition(".")[0]) < 37, reason="older releases load all models"
)
def test_no_models_of_the_library_are_imported(control_plane: Cluster) -> None:
    code = (
        "import sys\n"
        "from deployctl.clients import kubeconfig\n"
        "import deployctl.worker.runtimes.kubernetes.runtime\n"
        f"kube = kubeconfig.connect({str(control_plane.kubeconfig)!r})\n"
        "kube.list_objects('/api/v1/namespaces', '', dict)\n"
        "print([m for m in sys.modules if m.startswith("
        "('kubernetes.client.models.', 'kubernetes.client.api.'))])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
