"""A deploy or a destroy that is stopped at any request is completed by the same command."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployctl.cli.commands import app
from deployctl.cli.exit import Exit
from tests.integration.conftest import FreshServer
from tests.support.api import Api
from tests.support.project import write_project
from tests.support.proxy import Proxy
from tests.support.servers import PREFECT_2, PREFECT_3, Server

TRIGGER = {"type": "event", "expect": ["prefect.flow-run.Completed"]}


def before(major: int) -> dict[str, Any]:
    """Three deployments on a declared pool, and resources: the state that is deployed first."""
    extras = {"triggers": [TRIGGER]} if major == 3 else {}
    return {
        "name": "crash",
        "variables": {"kept": {"value": "x"}, "old": {"value": "x"}},
        "concurrency_limits": [{"name": "db", "limit": 1}, {"tag": "gpu", "limit": 1}],
        "flows": {"hello": {"tags": ["a"]}},
        "blocks": {"token": {"type": "secret", "values": {"value": "planted"}}},
        "work_pools": [
            {"name": "own", "type": "process", "queues": [{"name": "q", "priority": 2}]}
        ],
        "deployments": [
            {
                "name": "daily",
                "entrypoint": "flows.py:hello",
                "tags": ["a"],
                "schedules": [{"cron": "0 7 * * *"}, {"interval": 3600}],
                "work_pool": {"name": "own", "work_queue_name": "q"},
                **extras,
            },
            {
                "name": "weekly",
                "entrypoint": "flows.py:hello",
                "paused": True,
                "work_pool": {"name": "own"},
            },
            {
                "name": "old",
                "entrypoint": "flows.py:hello",
                "work_pool": {"name": "own"},
                **extras,
            },
        ],
    }


def after(major: int) -> dict[str, Any]:
    """The same with changes, additions and removals of every kind, and a rename on Prefect 3."""
    file = before(major)
    file["work_pools"][0] |= {"description": "changed"}
    file["variables"] = {"kept": {"value": "changed"}}
    file["concurrency_limits"] = [{"name": "db", "limit": 2}, {"tag": "gpu", "limit": 2}]
    file["flows"]["hello"]["tags"] = ["b"]
    file["blocks"]["token"]["values"]["value"] = "changed"
    daily, weekly, _ = file["deployments"]
    daily |= {"schedules": [{"cron": "0 8 * * *"}], "pull": []}
    del daily["tags"], weekly["paused"]
    if major == 3:
        daily["triggers"] = [{**TRIGGER, "threshold": 2}, {**TRIGGER, "name": "second"}]
    monthly = {**weekly, "name": "monthly", "schedules": [{"cron": "0 0 1 * *"}]}
    if major == 3:
        monthly["renamed_from"] = "old"
    file["deployments"][2] = monthly
    return file


@dataclass
class Machine:
    """The server, a proxy that fails on demand, and the project."""

    server: Server
    proxy: Proxy
    folder: Path
    patch: pytest.MonkeyPatch

    def write(self, file: dict[str, Any]) -> None:
        write_project(self.folder, json.dumps(file))

    def run(self, *args: str) -> int:
        """Runs deployctl in this process, which is faster, and returns its exit code."""
        self.patch.setenv("PREFECT_API_URL", self.proxy.api_url)
        try:
            app(["--no-prompt", *args], prog_name="deployctl")
        except Exit as ended:
            return ended.code
        return 0

    def deploy(self) -> int:
        return self.run("deploy", "--all", "--prune")

    def destroy(self) -> int:
        return self.run("destroy", "--project", "crash", "--yes")

    def run_and_die(self, run: Callable[[], int], number: int, *, answered: bool) -> None:
        """Runs a command while the server stops responding after the request with this number."""
        self.proxy.stop_after(number, answer_last=answered)
        with self.patch.context() as patch:
            patch.setenv("PREFECT_CLIENT_MAX_RETRIES", "0")
            run()
        self.proxy.clear()
        self.server.expire_locks()

    def is_converged(self) -> bool:
        self.proxy.clear()
        return self.run("plan", "--all", "--prune", "--detailed-exitcode") == 0


@pytest.fixture(params=[PREFECT_3, PREFECT_2])
def machine(
    request: pytest.FixtureRequest,
    fresh_server: FreshServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Machine]:
    server = fresh_server(request.param, scheduler=False)
    with Api(server.api_url) as api:
        api.call("POST", "/block_types/install_system_block_types")
    with Proxy(server.api_url) as proxy:
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        (tmp_path / "project").mkdir()
        monkeypatch.chdir(tmp_path / "project")
        yield Machine(server, proxy, tmp_path / "project", monkeypatch)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("start", ["nothing", "before"])
def test_deploy_killed_at_any_request_is_completed_by_the_next(
    machine: Machine, start: str
) -> None:
    """Whether the last request's answer arrives makes no difference on the server: it alternates.

    Both happen after each request, on one of the two majors.
    """
    if start == "before":
        machine.write(before(machine.server.major))
        assert machine.deploy() == 0
    data = machine.server.snapshot()
    machine.write(after(machine.server.major))

    def rewind() -> None:
        machine.server.reset(data)
        machine.proxy.clear()

    rewind()
    assert machine.deploy() == 0
    writes = [e.number for e in machine.proxy.exchanges if e.writes]
    assert machine.is_converged()
    for number in range(writes[0], writes[-1] + 1):
        answered = (number + machine.server.major) % 2 == 0
        rewind()
        machine.run_and_die(machine.deploy, number, answered=answered)
        assert machine.deploy() == 0, f"after request {number}, answered: {answered}"
        assert machine.is_converged(), f"after request {number}, answered: {answered}"
        with Api(machine.server.api_url) as api:
            schedules = api.deployment("hello", "daily")["schedules"]
            assert len(schedules) == 1, f"after request {number}, answered: {answered}"
            found = {each["name"] for each in api.call("POST", "/deployments/filter", {})}
            assert found == {"daily", "weekly", "monthly"}
            stored = api.call("POST", "/variables/filter", {})
            own = {each["name"]: each["value"] for each in stored}
            own.pop("deployctl_crash_lock", None)
            assert own == {"kept": "changed"}
            if machine.server.major == 3:
                assert len(api.automations()) == 2
    if start == "before":
        destroy_killed_at_any_request(machine, data)


def destroy_killed_at_any_request(machine: Machine, data: Path) -> None:
    """The part about `destroy`, from the same state of the server."""
    machine.server.reset(data)
    machine.proxy.clear()
    assert machine.destroy() == 0
    writes = [e.number for e in machine.proxy.exchanges if e.writes]
    for number in range(writes[0], writes[-1] + 1):
        machine.server.reset(data)
        answered = (number + machine.server.major) % 2 == 0
        machine.run_and_die(machine.destroy, number, answered=answered)
        assert machine.destroy() == 0, f"after request {number}, answered: {answered}"
        with Api(machine.server.api_url) as api:
            for path in ("deployments", "artifacts", "variables", "automations"):
                if path == "automations" and machine.server.major == 2:
                    continue
                found = api.call("POST", f"/{path}/filter", {})
                assert found == [], f"after request {number}, answered: {answered}"
            pools = {each["name"] for each in api.call("POST", "/work_pools/filter", {})}
            assert "own" not in pools
