"""`deployctl dev`: server, deployments and workers on one machine, from nothing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import Cli
from tests.support.environment import isolated
from tests.support.servers import ROOT, free_port
from tests.support.waiting import TIMEOUT, until

DEPLOYCTL = str(Path(sys.executable).with_name("deployctl"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "etl"
    shutil.copytree(ROOT / "examples" / "etl", folder)
    return folder


def search_path(python: Path) -> str:
    return os.pathsep.join([str(python.parent), os.environ["PATH"]])


@pytest.mark.smoke
def test_follows_run_to_its_end(project: Path, cli: Cli, prefect3_python: Path) -> None:
    result = cli(
        "dev",
        "--run",
        "repo-info/demo",
        "--port",
        str(free_port()),
        cwd=project,
        PATH=search_path(prefect3_python),
    )
    assert result.code == 0, result.stderr
    assert "115000 stars" in result.stdout
    assert "is Completed" in result.stdout


def test_ctrl_c_stops_server_and_workers(project: Path, prefect2_python: Path) -> None:
    port = free_port()
    env = isolated(project.parent / "home", PATH=search_path(prefect2_python))
    process = subprocess.Popen(
        [DEPLOYCTL, "dev", "--port", str(port)],
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
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(TIMEOUT) == 0
    until(lambda: not _listens(port))


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
