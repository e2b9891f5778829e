"""Deploy, redeploy, change and run on servers of older minors than the one of the other tests.

`make servers-all` installs them. Flow runs execute in the environment of the same version.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Cli, FreshServer
from tests.support.api import Api
from tests.support.project import write_project
from tests.support.project_harness import TRIGGER, ProjectHarness, entry, job_variables
from tests.support.proxy import Proxy
from tests.support.servers import OTHER_VERSIONS, Server
from tests.support.waiting import until
from tests.support.worker_harness import WorkerProcess

FLOWS = '''
from prefect import flow


@flow
def hello(name: str = "world", times: int = 1) -> None:
    """Greets."""
    print(name * times)


@flow(log_prints=True)
def collect(first: int = 1, *more: int, **named: float) -> None:
    print(f"got {first} {more} {named}")
'''
POOL = {"name": "declared", "type": "process", "queues": [{"name": "slow", "priority": 5}]}
DAILY = entry(
    description="Says hello.",
    tags=["one", "two"],
    parameters={"name": "you"},
    work_pool={"name": "declared", "work_queue_name": "slow", "job_variables": {"env": {"A": "1"}}},
    schedules=[
        {"cron": "0 7 * * 1-5", "timezone": "Europe/Berlin"},
        {"interval": 3600, "anchor_date": "2024-01-01T00:00:00+00:00", "active": False},
        {"rrule": "FREQ=WEEKLY;BYDAY=MO"},
    ],
    triggers=[TRIGGER],
    concurrency_limit=2,
    enforce_parameter_schema=False,
)
COLLECT = {
    "name": "daily",
    "entrypoint": "flows.py:collect",
    "work_pool": {"name": "declared"},
    "enforce_parameter_schema": True,
}


@pytest.fixture(params=OTHER_VERSIONS)
def server(request: pytest.FixtureRequest, fresh_server: FreshServer) -> Server:
    """An empty server of each of the versions in turn."""
    return fresh_server(request.param)


@pytest.fixture
def project(server: Server, in_process_cli: Cli, tmp_path: Path) -> Iterator[ProjectHarness]:
    """A project with a work pool and two deployments, and an empty server."""
    write_project(tmp_path, "", {"flows.py": FLOWS})
    with Api(server.api_url) as api, Proxy(server.api_url) as proxy:
        harness = ProjectHarness(tmp_path, api, proxy, in_process_cli, 3, server.api_url)
        declare(harness, DAILY)
        yield harness


def declare(project: ProjectHarness, daily: Any) -> None:
    """Writes prefect.yaml with `daily`, and leaves the flows as they are."""
    text = json.dumps({"name": "p", "work_pools": [POOL], "deployments": [daily, COLLECT]})
    (project.folder / "prefect.yaml").write_text(text, encoding="utf-8")


def test_redeploy_without_changes_writes_nothing(project: ProjectHarness) -> None:
    project.deploy()
    live = project.live()
    assert (live["description"], live["tags"]) == ("Says hello.", ["one", "two"])
    assert (live["work_pool_name"], live["work_queue_name"]) == ("declared", "slow")
    assert (live["parameters"], job_variables(live)) == ({"name": "you"}, {"env": {"A": "1"}})
    assert sorted(schedule["active"] for schedule in live["schedules"]) == [False, True, True]
    assert len(project.api.automations()) == 1
    assert project.ops() == {}
    project.deploy()
    assert project.proxy.writes == []
    assert project.live() == live


def test_change_keeps_ids_of_schedules(project: ProjectHarness) -> None:
    project.deploy()
    before = project.live()
    declare(project, {**DAILY, "tags": ["three"], "parameters": {"times": 2}})
    assert project.ops() == {"update": 1}
    project.deploy()
    after = project.live()
    assert (after["tags"], after["parameters"]) == (["three"], {"times": 2})
    assert after["id"] == before["id"]
    assert schedules(after, "id") == schedules(before, "id")
    assert project.ops() == {}


def test_change_that_needs_a_post_keeps_all_other_values(project: ProjectHarness) -> None:
    """Servers before 3.2 take new pull steps by POST only, which replaces the schedules."""
    project.deploy()
    before = project.live()
    declare(project, {**DAILY, "pull": []})
    project.deploy()
    after = project.live()
    assert after["pull_steps"] == []
    assert schedules(after, "schedule", "active") == schedules(before, "schedule", "active")
    replaced = {"pull_steps", "schedules", "updated"}
    assert {name for name in after if after[name] != before[name]} <= replaced
    assert project.ops() == {}


def schedules(live: Any, *fields: str) -> list[str]:
    """These fields of all schedules, in a fixed order."""
    return sorted(repr([schedule[field] for field in fields]) for schedule in live["schedules"])


@pytest.mark.parametrize(
    ("parameters", "printed"),
    [({}, "got 1 () {}"), ({"first": 5, "more": [6, 7], "named": {"x": 1.5}}, None)],
    ids=["defaults", "all parameters"],
)
def test_worker_executes_a_run(
    project: ProjectHarness, server: Server, parameters: Any, printed: str | None
) -> None:
    project.deploy()
    run = project.run("run", "collect/daily", "--params", json.dumps(parameters))["run"]["id"]
    path = os.pathsep.join([str(server.python.parent), os.environ["PATH"]])
    env = {"PREFECT_API_URL": server.api_url, "PATH": path}
    final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
    with WorkerProcess(project.folder, env, "--pool", "declared") as worker:
        until(lambda: state(project, run) in final, lambda: worker.output)
        assert state(project, run) == "COMPLETED", worker.output
    line = printed or "got 5 (6, 7) {'x': 1.5}"
    until(lambda: line in messages(project, run), lambda: "\n".join(messages(project, run)))


def messages(project: ProjectHarness, run: str) -> list[str]:
    """The lines of a run's log, which the server stores some time after the run's end."""
    return [record["message"] for record in project.run("logs", run)["logs"]]


def state(project: ProjectHarness, run: str) -> str:
    found: str = project.api.call("GET", f"/flow_runs/{run}")["state_type"]
    return found
