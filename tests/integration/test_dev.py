"""`deployctl dev`: server, deployments and workers on one machine, from nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import Cli
from tests.support.environment import isolated
from tests.support.servers import free_port
from tests.support.waiting import TIMEOUT, until

DEPLOYCTL = str(Path(sys.executable).with_name("deployctl"))


FLOW = """
import os
import time
from pathlib import Path

from prefect import flow


@flow(log_prints=True)
def hello(region: str = "none", wait: float = 0):
    Path("process").write_text(str(os.getpid()))
    print(f"region {region}")
    time.sleep(wait)
"""
PROJECT = """
deployments:
- name: daily
  entrypoint: flows.py:hello
  tag: [misspelt]
  parameters: {region: "{{ prefect.variables.region }}"}
  work_pool: {name: "{{ prefect.variables.pool }}"}
"""
SEEDS = """
variables: {region: "{{ $REGION }}", pool: seeded-pool}
blocks:
  token: {type: secret, values: {value: secret-of-the-seed}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "flows.py").write_text(FLOW)
    (folder / "prefect.yaml").write_text(PROJECT)
    (folder / "dev.yaml").write_text(SEEDS)
    return folder


def search_path(python: Path) -> str:
    return os.pathsep.join([str(python.parent), os.environ["PATH"]])


@pytest.mark.smoke
def test_follows_run_to_its_end(project: Path, cli: Cli, prefect3_python: Path) -> None:
    result = cli(
        *("dev", "--run", "hello/daily", "--port", str(free_port()), "--seed", "dev.yaml"),
        cwd=project,
        PATH=search_path(prefect3_python),
        REGION="north",
    )
    assert result.code == 0, result.stderr
    assert "Variables and blocks: 3 created" in result.stdout
    assert "work pool seeded-pool created" in result.stdout
    assert "region north" in result.stdout
    assert "is Completed" in result.stdout
    assert result.stderr.count("Did you mean 'tags'?") == 1
    assert "secret-of-the-seed" not in result.stdout + result.stderr


def test_ctrl_c_stops_server_workers_and_runs(
    project: Path, cli: Cli, prefect2_python: Path
) -> None:
    port = free_port()
    env = isolated(
        project.parent / "home", PATH=search_path(prefect2_python), REGION="north", CI="1"
    )
    process = subprocess.Popen(
        [DEPLOYCTL, "dev", "--port", str(port), "--seed", "dev.yaml"],
        cwd=project,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "takes runs of work pool" in line:
                break
        else:
            pytest.fail("".join(lines))
        assert any("Did you mean 'tags'?" in line for line in lines)
        url = f"http://127.0.0.1:{port}/api"
        started = cli("run", "hello/daily", "--param", "wait=600", cwd=project, api_url=url)
        assert started.code == 0, started.stderr
        flow_process = int(until(lambda: _text(project / "process")))
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(TIMEOUT) == 0
    assert "the worker and its jobs have stopped" in rest
    until(lambda: not _listens(port))
    until(lambda: not Path(f"/proc/{flow_process}").exists())


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("variables: {region: '{{ $UNSET }}'}", "variable 'UNSET' is not set"),
        ("variables: [{value: 1}]", "this variable has no 'name'"),
    ],
)
def test_mistakes_in_the_seed_file_are_found_before_the_server_starts(
    project: Path, cli: Cli, seeds: str, message: str
) -> None:
    (project / "dev.yaml").write_text(seeds)
    result = cli("dev", "--seed", "dev.yaml", cwd=project, PATH="/usr/bin:/bin")
    assert result.code == 1
    assert message in result.stderr
    assert "dev.yaml:1:" in result.stderr
    assert "prefect" not in result.stdout


def test_missing_prefect_error_says_how_to_install_it(project: Path, cli: Cli) -> None:
    result = cli("dev", cwd=project, PATH="/usr/bin:/bin")
    assert result.code == 1
    assert "found no 'prefect' program" in result.stderr
    assert "pip install prefect" in result.stderr


def test_port_in_use_is_an_error(project: Path, cli: Cli, prefect3_python: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = cli("dev", "--port", port, cwd=project, PATH=search_path(prefect3_python))
    assert result.code == 1
    assert f"port {port} is in use" in result.stderr


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _text(path: Path) -> str:
    """The text of a file that may not be there yet."""
    return path.read_text() if path.exists() else ""
