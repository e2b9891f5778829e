"""The test rig: what the other integration tests rely on."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import FreshServer
from tests.support.prefect_cli import PrefectCli
from tests.support.project import write_project
from tests.support.proxy import Proxy
from tests.support.servers import PREFECT_2, PREFECT_3, ROOT, Server
from tests.support.waiting import until

VERSIONS = [PREFECT_3, PREFECT_2]
BUSY = 503


def call(api_url: str, method: str, path: str, body: Any = None) -> Any:
    """Send a request and return its JSON; retry while the SQLite server is busy."""
    request = urllib.request.Request(
        api_url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        if error.code != BUSY:
            raise
        error.close()
    time.sleep(0.1)
    return call(api_url, method, path, body)


def flows(api_url: str) -> set[str]:
    return {flow["name"] for flow in call(api_url, "POST", "/flows/filter", {})}


def test_server_has_the_version_of_its_fixture(server: Server) -> None:
    assert call(server.api_url, "GET", "/admin/version") == server.version


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize("version", VERSIONS)
def test_killed_server_keeps_its_data_and_reset_deletes_it(
    version: str, database: str, fresh_server: FreshServer
) -> None:
    server = fresh_server(version, database=database)
    blocks = call(server.api_url, "POST", "/block_types/filter", {})
    assert flows(server.api_url) == set()
    assert blocks

    call(server.api_url, "POST", "/flows/", {"name": "kept"})
    server.restart()
    assert flows(server.api_url) == {"kept"}

    server.reset()
    assert flows(server.api_url) == set()
    assert call(server.api_url, "POST", "/block_types/filter", {}) == blocks
    call(server.api_url, "POST", "/flows/", {"name": "kept"})
    assert flows(server.api_url) == {"kept"}


def test_server_with_auth_string_rejects_anonymous_requests(fresh_server: FreshServer) -> None:
    server = fresh_server(PREFECT_3, auth="admin:pass", scheduler=False)
    with pytest.raises(urllib.error.HTTPError) as refused:
        flows(server.api_url)
    refused.value.close()
    assert refused.value.code == 401


@pytest.mark.parametrize("version", VERSIONS)
def test_server_with_csrf_protection_requires_a_token(
    version: str, fresh_server: FreshServer
) -> None:
    server = fresh_server(version, csrf=True, scheduler=False)
    with pytest.raises(urllib.error.HTTPError) as refused:
        flows(server.api_url)
    refused.value.close()
    assert refused.value.code == 403


def test_server_schedules_runs(server: Server) -> None:
    flow = call(server.api_url, "POST", "/flows/", {"name": "rig-scheduled"})
    schedule = {"schedule": {"cron": "0 4 * * *"}, "active": True}
    deployment = {"name": "rig", "flow_id": flow["id"], "schedules": [schedule]}
    created = call(server.api_url, "POST", "/deployments/", deployment)
    runs = {"deployments": {"id": {"any_": [created["id"]]}}}
    until(lambda: call(server.api_url, "POST", "/flow_runs/filter", runs))


def is_gone(api_url: str) -> bool:
    try:
        call(api_url, "GET", "/health")
    except (OSError, http.client.HTTPException):
        return True
    return False


def test_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import time; from tests.support.servers import PREFECT_3, Server\n"
        "server = Server(PREFECT_3); server.start(); print(server.api_url, flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout
        api_url = owner.stdout.readline().strip()
        call(api_url, "GET", "/health")
        owner.send_signal(signal.SIGKILL)
    until(lambda: is_gone(api_url))


def test_proxy_forwards_and_records_requests(
    server: Server, proxy: Callable[[Server], Proxy]
) -> None:
    through = proxy(server)
    call(through.api_url, "POST", "/flows/", {"name": "rig-forwarded"})
    assert "rig-forwarded" in flows(through.api_url)

    forwarded = [each for each in through.exchanges if each.status != BUSY]
    assert [(e.method, e.path, e.status) for e in forwarded] == [
        ("POST", "/flows/", 201),
        ("POST", "/flows/filter", 200),
    ]
    assert [e.number for e in through.exchanges] == [*range(1, len(through.exchanges) + 1)]
    assert through.writes[0].body == {"name": "rig-forwarded"}
    assert not through.exchanges[-1].writes


def test_request_with_a_dropped_answer_reaches_the_server(
    server: Server, proxy: Callable[[Server], Proxy]
) -> None:
    through = proxy(server)
    through.drop_answer(method="POST", path="^/flows/$")
    with pytest.raises(OSError):  # noqa: PT011
        call(through.api_url, "POST", "/flows/", {"name": "rig-dropped"})
    assert "rig-dropped" in flows(through.api_url)
    assert [e.status for e in through.exchanges] == [None, 200]


def test_refused_request_does_not_reach_the_server(
    server: Server, proxy: Callable[[Server], Proxy]
) -> None:
    through = proxy(server)
    through.refuse(method="POST", path="^/flows/$")
    with pytest.raises(OSError):  # noqa: PT011
        call(through.api_url, "POST", "/flows/", {"name": "rig-refused"})
    assert "rig-refused" not in flows(through.api_url)
    assert [e.forwarded for e in through.exchanges] == [False, True]


def test_proxy_answers_instead_of_the_server_n_times(
    server: Server, proxy: Callable[[Server], Proxy]
) -> None:
    through = proxy(server)
    through.answer(502, times=2, headers={"Retry-After": "1"}, body={"detail": "gone"})
    for _ in range(2):
        with pytest.raises(urllib.error.HTTPError) as refused:
            flows(through.api_url)
        assert (refused.value.code, refused.value.headers["Retry-After"]) == (502, "1")
        refused.value.close()
    flows(through.api_url)
    assert [e.status for e in through.exchanges] == [502, 502, 200]


@pytest.mark.parametrize("answered", [True, False])
def test_proxy_stops_after_the_last_request_until_cleared(
    server: Server, proxy: Callable[[Server], Proxy], answered: bool
) -> None:
    through = proxy(server)
    through.stop_after(2, answer_last=answered)
    flows(through.api_url)
    name = f"rig-last-{answered}"
    if answered:
        call(through.api_url, "POST", "/flows/", {"name": name})
    else:
        with pytest.raises(OSError):  # noqa: PT011
            call(through.api_url, "POST", "/flows/", {"name": name})
    until(lambda: is_gone(through.api_url))

    through.clear()
    assert name in flows(through.api_url)


def test_real_prefect_deploys_to_the_server(
    server: Server, prefect_cli: Callable[[Server], PrefectCli], tmp_path: Path
) -> None:
    folder = write_project(
        tmp_path / "project",
        """
        deployments:
          - name: rig
            entrypoint: flows.py:hello
            work_pool: {name: rig-pool}
        """,
    )
    prefect = prefect_cli(server)
    assert prefect.run("work-pool", "create", "rig-pool", "-t", "process", cwd=folder).code == 0
    prefect.deploy(folder, "--all")
    assert call(server.api_url, "GET", "/deployments/name/hello/rig")["name"] == "rig"
