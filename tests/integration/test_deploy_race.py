"""Two equal first deploys at the same time: both succeed, and nothing exists twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import pytest

from deployctl.jobs.base_job_templates import base_job_template
from tests.integration.conftest import Cli, FreshServer
from tests.support.api import Api
from tests.support.exchanges import Where
from tests.support.prefect_cli import CommandResult
from tests.support.project import write_project
from tests.support.project_harness import TRIGGER
from tests.support.proxy import Proxy
from tests.support.servers import PREFECT_2, PREFECT_3, Server
from tests.support.waiting import until


def project(major: int, deployments: int) -> dict[str, Any]:
    """A pool with a queue, and deployments with everything that a deployment can have."""
    triggers = {"triggers": [TRIGGER]} if major == 3 else {}
    return {
        "name": "race",
        "work_pools": [{"name": "own", "type": "process", "queues": [{"name": "q"}]}],
        "deployments": [
            {
                "name": f"d{number}",
                "entrypoint": "flows.py:hello",
                "work_pool": {"name": "own", "work_queue_name": "q"},
                "schedules": [{"cron": "0 7 * * *", "max_scheduled_runs": 3}, {"interval": 3600}],
                **triggers,
            }
            for number in range(deployments)
        ],
    }


def check_server(server: Server, deployments: int) -> None:
    """Everything that `project` declares exists once."""
    with Api(server.api_url) as api:
        for number in range(deployments):
            assert len(api.deployment("hello", f"d{number}")["schedules"]) == 2
        if server.major == 3:
            names = sorted(each["name"] for each in api.automations())
            assert names == [f"d{number}__automation_1" for number in range(deployments)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", [PREFECT_3, PREFECT_2])
def test_two_equal_first_deploys_at_once(
    fresh_server: FreshServer, cli: Cli, in_process_cli: Cli, tmp_path: Path, version: str
) -> None:
    server = fresh_server(version, scheduler=False)
    write_project(tmp_path, json.dumps(project(server.major, 6)))
    data = server.snapshot()
    for _ in range(3):
        server.reset(data)
        with ThreadPoolExecutor(2) as executor:
            both = [
                executor.submit(cli, "deploy", "--all", cwd=tmp_path, api_url=server.api_url)
                for _ in range(2)
            ]
            for each in both:
                result = each.result()
                assert result.code == 0, f"{result.stdout}\n{result.stderr}"
        check_server(server, 6)
        plan = in_process_cli(
            "plan", "--all", "--detailed-exitcode", cwd=tmp_path, api_url=server.api_url
        )
        assert plan.code == 0, plan.stdout


@pytest.mark.timeout(600)
def test_hooks_of_replicas_that_wait_for_the_server(
    fresh_server: FreshServer, cli: Cli, tmp_path: Path
) -> None:
    """All deploy one version to an empty server, and create the work pool that they need."""
    server = fresh_server(PREFECT_3, scheduler=False)
    file = project(server.major, 3)
    del file["work_pools"]
    for each in file["deployments"]:
        each["work_pool"] = {"name": "missing"}
    write_project(tmp_path, json.dumps(file))
    options = ("--create-pools", "--wait-for-api", "500", "--timeout", "500")
    with Proxy(server.api_url) as proxy, ThreadPoolExecutor(3) as executor:
        proxy.answer(503, path="/health$", times=6)
        hooks = [
            executor.submit(cli, "deploy", "--all", *options, cwd=tmp_path, api_url=proxy.api_url)
            for _ in range(3)
        ]
        for each in hooks:
            result = each.result()
            assert result.code == 0, f"{result.stdout}\n{result.stderr}"
    check_server(server, 3)
    with Api(server.api_url) as api:
        pool = api.call("GET", "/work_pools/missing")
    assert pool["base_job_template"] == base_job_template("kubernetes")


@dataclass
class Race:
    """Two deploys of one project, each through a proxy that can hold it."""

    server: Server
    cli: Cli
    in_process_cli: Cli
    folders: tuple[Path, Path]
    proxies: tuple[Proxy, Proxy]
    executor: ThreadPoolExecutor

    def start(self, which: int, **held: Unpack[Where]) -> Callable[[], CommandResult]:
        """Starts a deploy and returns when its first request that matches is held, or it has ended.

        Returns how to go on to the end.
        """
        proxy = self.proxies[which]
        proxy.clear()
        resume = proxy.delay(500, **held) if held else None
        deploy = self.executor.submit(
            self.cli, "deploy", "--all", cwd=self.folders[which], api_url=proxy.api_url
        )
        until(lambda: deploy.done() or (held and not proxy.pending))

        def go_on() -> CommandResult:
            if resume:
                resume.set()
            return deploy.result()

        return go_on

    def holds_lock(self, which: int) -> bool:
        """Whether the deploy has created the lock, which no other one holds."""
        return any(each.forwarded for each in self.proxies[which].seen("POST", "/variables/$"))

    def is_deployed(self, which: int) -> bool:
        """Whether the server has what the file declares, and nothing else."""
        folder, url = self.folders[which], self.server.api_url
        args = ("plan", "--all", "--detailed-exitcode", "--output", "json")
        plan = self.in_process_cli(*args, cwd=folder, api_url=url)
        return plan.code == 0 and not json.loads(plan.stdout)["undeclared"]


@pytest.fixture(params=[PREFECT_3, PREFECT_2])
def race(
    request: pytest.FixtureRequest,
    fresh_server: FreshServer,
    cli: Cli,
    in_process_cli: Cli,
    tmp_path: Path,
) -> Iterator[Race]:
    server = fresh_server(request.param, scheduler=False)
    folders = (tmp_path / "one", tmp_path / "other")
    files = [project(server.major, 2) for _ in folders]
    files[1]["work_pools"][0]["description"] = "other"
    shared, removed = files[1]["deployments"]
    shared |= {"schedules": [{"cron": "0 8 * * *"}], "tags": ["other"]}
    removed["name"] = "other"
    for folder, file in zip(folders, files, strict=True):
        folder.mkdir()
        write_project(folder, json.dumps(file))
    with (
        Proxy(server.api_url) as one,
        Proxy(server.api_url) as other,
        ThreadPoolExecutor(2) as executor,
    ):
        yield Race(server, cli, in_process_cli, folders, (one, other), executor)


CREATES_LOCK: Where = {"method": "POST", "path": "/variables/$"}


@pytest.mark.timeout(900)
def test_of_two_different_deploys_one_wins_as_a_whole(race: Race) -> None:
    """Both have read the server before one of them writes; one is held at each of its requests."""
    data = race.server.snapshot()
    race.start(0)()
    numbers = [each.number for each in race.proxies[0].writes]
    places: list[Where] = [CREATES_LOCK, *(Where(since=n) for n in numbers[1::4]), {}]
    for place in places:
        race.server.reset(data)
        second = race.start(1, **CREATES_LOCK)
        first = race.start(0, **place)
        winner = 0 if race.holds_lock(0) else 1
        with ThreadPoolExecutor(1) as executor:
            ended = executor.submit(second)
            waits = race.proxies[1]
            until(lambda: ended.done() or waits.seen("GET", "/variables/name/"))  # noqa: B023
            results = [first(), ended.result()]
        text = f"{place}: {results}"
        assert [each.code for each in results] == [winner, 1 - winner], text
        assert "DC525" in results[1 - winner].stderr, text
        assert race.is_deployed(winner), text


@pytest.mark.timeout(900)
def test_deploy_takes_over_from_another_one_that_was_killed(race: Race) -> None:
    data = race.server.snapshot()
    (first, second), proxy = race.folders, race.proxies[0]
    deploy = partial(race.in_process_cli, "deploy", "--all")
    assert deploy(cwd=first, api_url=proxy.api_url).code == 0
    numbers = [each.number for each in proxy.writes]
    for number in numbers[1:-1:2]:
        race.server.reset(data)
        proxy.clear()
        proxy.stop_after(number, answer_last=bool(number % 2))
        deploy(cwd=first, api_url=proxy.api_url, PREFECT_CLIENT_MAX_RETRIES="0")
        race.server.expire_locks()
        result = deploy(cwd=second, api_url=race.server.api_url)
        assert result.code == 0, f"request {number}: {result}"
        plan = race.in_process_cli(
            "plan", "--all", "--detailed-exitcode", cwd=second, api_url=race.server.api_url
        )
        assert plan.code == 0, f"request {number}: {plan.stdout}"
