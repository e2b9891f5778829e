"""The source of a cluster configuration, as messages name it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import certifi
import pytest

from deployctl.clients.kubeconfig import ClusterConfigError, connect, connect_with_config
from tests.support.environment import isolated

CONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: u, user: {token: abc}}]
contexts: [{name: lab, context: {cluster: c, user: u}}, {name: b, context: {cluster: c, user: u}}]
current-context: lab
"""


def test_names_context_of_kubeconfig_file(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(CONFIG)
    assert connect(str(file)).source == f"context 'lab' of the kubeconfig '{file}'"


@pytest.mark.parametrize(("requested", "found"), [(None, "lab"), ("b", "b")])
def test_names_context_of_cluster_config_block(requested: str | None, found: str) -> None:
    assert (
        connect_with_config(CONFIG, requested).source == f"context '{found}' of a 'cluster_config'"
    )


@pytest.mark.filterwarnings("ignore:SOCKS support")
def test_proxy_without_its_library_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without PySocks, urllib3 cannot use a SOCKS proxy."""
    monkeypatch.setitem(sys.modules, "socks", None)
    monkeypatch.delitem(sys.modules, "urllib3.contrib.socks", raising=False)
    file = tmp_path / "config"
    file.write_text(CONFIG.replace("http://127.0.0.1:9", "https://api.corp"))
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(ClusterConfigError, match="cannot be used"):
        connect(str(file))


def test_a_pod_loads_no_library_that_only_a_kubeconfig_needs(tmp_path: Path) -> None:
    """A process of its own, because other tests have loaded them."""
    token = tmp_path / "token"
    token.write_text("abc")
    unneeded = ("requests", "oauthlib", "kubernetes.stream", "pydantic")
    code = f"""
import subprocess
import sys
from deployctl.clients import kubeconfig
kubeconfig._defer_imports()
from kubernetes.config import incluster_config
incluster_config.SERVICE_TOKEN_FILENAME = {str(token)!r}
incluster_config.SERVICE_CERT_FILENAME = {certifi.where()!r}
kube = kubeconfig.connect()
print(kube.source, kube._headers()["authorization"], sep=", ")
print([each for each in {unneeded} if each in sys.modules])
print(kubeconfig.connect_with_config({CONFIG!r}, None).source)
"""
    env = isolated(tmp_path, KUBERNETES_SERVICE_HOST="127.0.0.1", KUBERNETES_SERVICE_PORT="9")
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert ended.stdout.splitlines() == [
        "the service account of this pod, bearer abc",
        "[]",
        "context 'lab' of a 'cluster_config'",
    ]
