"""Deploying a hundred deployments: new, unchanged, and with one change."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.row import Ratio, run_time
from tests.support.api import Api
from tests.support.environment import isolated
from tests.support.prefect_cli import CommandResult, PrefectCli, run_program
from tests.support.project import write_project
from tests.support.servers import PREFECT_3, Server, running

DEPLOYCTL = Path(sys.executable).with_name("deployctl")
COUNT = 100


def rows() -> Iterator[Ratio]:
    """Compare each case with `prefect deploy --all` on a server that is empty at first.

    Two more rows compare with the server's own time: the same writes and reads as raw requests.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        running(PREFECT_3, busy=60.0, tuned=False) as server,
    ):
        prefect = Prefect(server, Path(folder) / "prefect")
        deployctl = Deployctl(server, Path(folder) / "deployctl")
        prefect_times = _measure(prefect)
        raw_writes, raw_read = _raw_requests(server)
        times = _measure(deployctl)
        yield Ratio("create 100", prefect_times[0], times[0])
        yield Ratio("create 100, raw requests", raw_writes, times[0], 1 / 1.15)
        yield Ratio("redeploy 100, no change", prefect_times[1], times[1], 50.0)
        yield Ratio("redeploy 100, raw read", raw_read, times[1])
        yield Ratio("redeploy 100, one change", prefect_times[2], times[2], 20.0)


def _raw_requests(server: Server) -> tuple[float, float]:
    """Return the seconds for writing a hundred deployments one by one and reading them once."""
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
        writes = time.perf_counter() - start
        times = []
        for _ in range(3):
            start = time.perf_counter()
            api.call("POST", "/deployments/filter", {"limit": 200})
            times.append(time.perf_counter() - start)
    return writes, min(times)


class Prefect:
    """The real `prefect`, with a project folder of its own."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def deploy(self) -> CommandResult:
        """Deploy everything."""
        cli = PrefectCli(self.server, self.folder / ".home")
        return cli.run("--no-prompt", "deploy", "--all", cwd=self.folder)


class Deployctl(Prefect):
    """The same with deployctl."""

    def deploy(self) -> CommandResult:
        """Deploy everything."""
        env = isolated(self.folder / ".home", PREFECT_API_URL=self.server.api_url)
        return run_program([str(DEPLOYCTL), "deploy", "--all"], cwd=self.folder, env=env)


def _measure(deployer: Prefect) -> list[float]:
    deployer.server.reset()
    _create_pool(deployer.server)
    _write(deployer.folder, changed=False)
    created = run_time(deployer.deploy)
    unchanged = run_time(deployer.deploy, best_of=2)
    _write(deployer.folder, changed=True)
    return [created, unchanged, run_time(deployer.deploy)]


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
