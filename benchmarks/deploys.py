"""A hundred deployments: created, unchanged, and with one of them changed."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.row import Row, seconds
from tests.support.api import Api
from tests.support.environment import isolated
from tests.support.prefect_cli import CommandResult, PrefectCli, run_program
from tests.support.project import write_project
from tests.support.servers import PREFECT_3, Server, running

DEPLOYCTL = Path(sys.executable).with_name("deployctl")
COUNT = 100


def rows() -> Iterator[Row]:
    """Each of the three beside `prefect deploy --all`, on a server that starts out empty.

    Two more rows tell the server's own share: the same writes and the same read, sent by hand.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        running(PREFECT_3, busy=60.0, tuned=False) as server,
    ):
        prefect = Deployer(server, Path(folder) / "prefect")
        deployctl = Deployctl(server, Path(folder) / "deployctl")
        theirs = _measure(prefect)
        written, read = _raw(server)
        ours = _measure(deployctl)
        yield Row("create 100", theirs[0], ours[0])
        yield Row("create 100, beside raw requests", written, ours[0], 1 / 1.15)
        yield Row("redeploy 100, no change", theirs[1], ours[1], 25.0)
        yield Row("… beside the server's own read", read, ours[1])
        yield Row("redeploy 100, one change", theirs[2], ours[2], 20.0)


def _raw(server: Server) -> tuple[float, float]:
    """The seconds of writing a hundred deployments one by one, and of reading them once."""
    server.reset()
    _create_pool(server)
    with Api(server.api_url) as api:
        start = time.perf_counter()
        for entry in _entries(changed=False):
            flow = api.call("POST", "/flows/", {"name": "hello"})
            schedules = [{"schedule": each} for each in entry["schedules"]]
            body = {
                "name": entry["name"],
                "flow_id": flow["id"],
                "entrypoint": entry["entrypoint"],
                "tags": entry["tags"],
                "parameters": entry["parameters"],
                "schedules": schedules,
                "work_pool_name": "bench",
                "job_variables": entry["work_pool"]["job_variables"],
            }
            api.call("POST", "/deployments/", body)
        written = time.perf_counter() - start
        times = []
        for _ in range(3):
            start = time.perf_counter()
            api.call("POST", "/deployments/filter", {"limit": 200})
            times.append(time.perf_counter() - start)
    return written, min(times)


class Deployer:
    """The real `prefect`, deploying a project of its own."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def deploy(self) -> CommandResult:
        """Deploys everything."""
        cli = PrefectCli(self.server, self.folder / ".home")
        return cli.run("--no-prompt", "deploy", "--all", cwd=self.folder)


class Deployctl(Deployer):
    """deployctl in its place."""

    def deploy(self) -> CommandResult:
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
    file = {"name": "bench", "deployments": _entries(changed=changed)}
    write_project(folder, json.dumps(file))


def _entries(*, changed: bool) -> list[dict[str, Any]]:
    return [
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


def _create_pool(server: Server) -> None:
    with Api(server.api_url) as api:
        api.pool("bench")
