"""Which URLs are accessed through the proxy of the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.clients.kubeconfig import connect
from deployctl.clients.proxies import bypasses_proxy, proxy_for

DIRECT = [
    ("https://prefect.corp", "prefect.corp"),
    ("https://prefect.corp", "a, PREFECT.corp ,b"),
    ("https://prefect.corp", "corp"),
    ("https://prefect.corp", ".corp"),
    ("https://prefect.corp", "*.corp"),
    ("https://corp", ".corp"),
    ("https://prefect.corp.", "prefect.corp"),
    ("https://prefect.corp", "*"),
    ("https://prefect.corp:4200", "prefect.corp:4200"),
    ("https://prefect.corp", "*.corp:443"),
    ("http://10.1.2.3", "10.0.0.0/8"),
    ("http://10.1.2.3", "10.1.2.3"),
    ("http://10.1.2.3:80", "10.1.2.3:80"),
    ("http://[fd00::7]", "fd00::/8"),
    ("http://[fd00::7]", "fd00:0::7"),
    ("http://[fd00::7]:4200", "[fd00::7]:4200"),
    ("http://localhost:4200", ""),
    ("http://127.0.0.2:4200", ""),
    ("http://[::1]:4200", ""),
]
THROUGH_PROXY = [
    ("https://prefect.corp", ""),
    ("https://prefect.corp", ","),
    ("https://prefect.corp", "."),
    ("https://myprefect.corp", "prefect.corp"),
    ("https://prefect.corp", "a.prefect.corp"),
    ("https://prefect.corp", "prefect.corp:4200"),
    ("https://prefect.corp", "prefect.corp:nonsense"),
    ("http://11.1.2.3", "10.0.0.0/8"),
    ("http://10.example.com", "10.0.0.0/8"),
    ("http://[fe80::7]", "fd00::/8"),
    ("https://prefect.corp", "[broken"),
]


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [(*case, True) for case in DIRECT] + [(*case, False) for case in THROUGH_PROXY],
)
def test_no_proxy(url: str, no_proxy: str, direct: bool) -> None:
    assert bypasses_proxy(url, no_proxy) is direct


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "https://prefect.corp", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://prefect.corp", "http://p:3128"),
        ({"https_proxy": "p:3128"}, "https://prefect.corp", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, "http://prefect.corp", None),
        ({"ALL_PROXY": "http://p:3128"}, "http://prefect.corp", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": ".corp"}, "https://prefect.corp", None),
    ],
)
def test_proxy_of_environment(
    variables: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear(monkeypatch)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


@pytest.mark.parametrize(
    ("of_kubeconfig", "no_proxy", "proxy"),
    [
        ("", "", "http://env:1"),
        ("", "*.corp", None),
        ("proxy-url: http://file:2", "", "http://file:2"),
        ("proxy-url: http://file:2", "*.corp", "http://file:2"),
    ],
)
def test_proxy_of_cluster(
    of_kubeconfig: str,
    no_proxy: str,
    proxy: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clear(monkeypatch)
    monkeypatch.setenv("HTTPS_PROXY", "http://env:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    file = tmp_path / "config"
    cluster = f"{{server: 'https://api.corp', {of_kubeconfig}}}"
    file.write_text(
        f"clusters: [{{name: c, cluster: {cluster}}}]\n"
        "users: [{name: u, user: {token: abc}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
        "current-context: x\n"
    )
    used = connect(str(file))._pool.proxy
    assert (used and used.url) == proxy


def clear(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
