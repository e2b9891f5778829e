"""The source of a cluster configuration, as messages name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.clients.kubeconfig import connect, connect_with_config

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
