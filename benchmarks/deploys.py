"""A hundred deployments: created, unchanged, and with one of them changed."""

from __future__ import annotations

import json
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.row import Row, seconds
from tests.support.environment import isolated
from tests.support.prefect_cli import Ended, PrefectCli, run_program
from tests.support.project import write_project
from tests.support.servers import PREFECT_3, Server, running

DEPLOYCTL = Path(sys.executable).with_name("deployctl")
COUNT = 100


def rows() -> Iterator[Row]:
    """Each of the three beside `prefect deploy --all`, on a server that starts out empty."""
    with tempfile.TemporaryDirectory() as folder, running(PREFECT_3) as server:
        prefect = Deployer(server, Path(folder) / "prefect")
        deployctl = Deployctl(server, Path(folder) / "deployctl")
        measured = [_measure(deployer) for deployer in (prefect, deployctl)]
        names = ("create 100", "redeploy 100, no change", "redeploy 100, one change")
        for what, theirs, ours, budget in zip(names, *measured, (1.0, 25.0, 20.0), strict=True):
            yield Row(what, theirs, ours, budget)


class Deployer:
    """The real `prefect`, deploying a project of its own."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def deploy(self) -> Ended:
        """Deploys everything."""
        cli = PrefectCli(self.server, self.folder / ".home")
        return cli.run("--no-prompt", "deploy", "--all", cwd=self.folder)


class Deployctl(Deployer):
    """deployctl in its place."""

    def deploy(self) -> Ended:
        """Deploys everything."""
        env = isolated(self.folder / ".home", PREFECT_API_URL=self.server.api_url)
        return run_program([str(DEPLOYCTL), "deploy", "--all"], cwd=self.folder, env=env)


def _measure(deployer: Deployer) -> list[float]:
    deployer.server.reset()
    _create_pool(deployer.server)
    _write(deployer.folder, changed=False)
    created = seconds(deployer.deploy)
    unchanged = seconds(deployer.deploy, best_of=2)
    _write(deployer.folder, changed=True)
    return [created, unchanged, seconds(deployer.deploy)]


def _write(folder: Path, *, changed: bool) -> None:
    entries = [
        {
            "name": f"bench-{number}",
            "entrypoint": "flows.py:hello",
            "tags": ["bench", *(["changed"] if changed and number == 0 else [])],
            "parameters": {"name": f"number {number}"},
            "schedules": [{"cron": "0 4 * * *", "timezone": "UTC"}],
            "work_pool": {"name": "bench", "job_variables": {"env": {"NUMBER": str(number)}}},
        }
        for number in range(COUNT)
    ]
    write_project(folder, json.dumps({"name": "bench", "deployments": entries}))


def _create_pool(server: Server) -> None:
    request = urllib.request.Request(
        f"{server.api_url}/work_pools/",
        data=json.dumps({"name": "bench", "type": "process"}).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()
