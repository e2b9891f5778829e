"""Deploys that a signal or a server that stops answering ends, and the next one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployctl.deploy.lock import lock_name
from tests.integration.conftest import Cli, FreshServer
from tests.support.api import Api
from tests.support.environment import isolated
from tests.support.project import write_project
from tests.support.project_harness import ProjectHarness, entry
from tests.support.proxy import Proxy
from tests.support.servers import PREFECT_2, PREFECT_3
from tests.support.waiting import TIMEOUT, until


def stopped_deploy(
    project: ProjectHarness, sent: signal.Signals, creates: int, **variables: str
) -> tuple[int, str, str]:
    """Sends a signal to a deploy at this request that creates; its exit code and output."""
    program = Path(sys.executable).with_name("deployctl")
    env = isolated(project.folder / "home", PREFECT_API_URL=project.proxy.api_url, **variables)
    with subprocess.Popen(
        [program, "deploy", "--all", "--concurrency", "2"],
        cwd=project.folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        until(lambda: len(project.proxy.seen("POST", "/deployments/$")) >= creates)
        running.send_signal(sent)
        stdout, stderr = running.communicate(timeout=TIMEOUT)
    assert "Traceback" not in stderr
    assert " skipped. Run the same command again" in stdout
    return running.returncode, stdout, stderr


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_finishes_writes_in_flight_and_reports_the_rest(
    project: ProjectHarness, sent: signal.Signals, code: int
) -> None:
    project.write([entry(name=f"d{n}") for n in range(30)])
    project.proxy.clear()
    project.proxy.delay(1.0, method="POST", path="/deployments/$", times=None)
    ended, stdout, stderr = stopped_deploy(project, sent, 3)
    assert ended == code, stdout + stderr
    there = project.api.call("POST", "/deployments/filter", {})
    assert 1 <= len(there) < 30
    unreported = len(there) + 1 - stdout.count("created")  # the summary says it once more
    assert 0 <= unreported <= (2 if "may have been written" in stdout else 0)
    project.deploy()
    assert project.ops() == {}


def test_signal_ends_a_deploy_that_waits_for_a_frozen_server(project: ProjectHarness) -> None:
    project.write([entry(name=f"d{n}") for n in range(8)])
    project.proxy.clear()
    project.proxy.hang(method="POST", path="/deployments/$", times=None)
    ended, stdout, stderr = stopped_deploy(
        project, signal.SIGINT, 1, PREFECT_API_REQUEST_TIMEOUT="36000"
    )
    assert ended == 130, stdout + stderr
    assert "may have been written" in stdout
    assert project.proxy.seen("DELETE", "/variables/") == []
    assert project.api.call("POST", "/deployments/filter", {}) == []
    project.api.call("DELETE", f"/variables/name/{lock_name('project')}")
    project.deploy()
    assert project.ops() == {}


@pytest.mark.parametrize("version", [PREFECT_3, PREFECT_2])
def test_next_deploy_converges_after_server_was_killed(
    version: str, fresh_server: FreshServer, cli: Cli, tmp_path: Path
) -> None:
    server = fresh_server(version)
    with Api(server.api_url) as api, Proxy(server.api_url) as proxy:
        api.pool("pool")
        proxy.delay(1.0, method="POST", path="/deployments/$", times=None)
        file = {"name": "project", "deployments": [entry(name=f"d{n}") for n in range(20)]}
        write_project(tmp_path, json.dumps(file))
        impatient = {"PREFECT_CLIENT_MAX_RETRIES": "1"}
        with ThreadPoolExecutor() as pool:
            command = ("deploy", "--all", "--concurrency", "2")
            first = pool.submit(cli, *command, cwd=tmp_path, api_url=proxy.api_url, **impatient)
            until(lambda: api.call("POST", "/deployments/filter", {}) or first.done())
            server.kill()
            proxy.stop_after(0)
            ended = first.result()
        assert ended.code == 1
        assert "skipped: the server does not answer" in ended.stdout
        assert "Traceback" not in ended.stderr
        server.start()
        assert cli("deploy", "--all", cwd=tmp_path, api_url=server.api_url).code == 0
        plan = ("plan", "--all", "--detailed-exitcode")
        assert cli(*plan, cwd=tmp_path, api_url=server.api_url).code == 0
