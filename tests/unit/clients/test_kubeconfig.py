"""The source of a cluster configuration, as messages name it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deployctl.clients.kubeconfig import ClusterConfigError, connect, connect_with_config

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
