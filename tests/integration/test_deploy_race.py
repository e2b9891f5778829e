"""Two equal first deploys at the same time: both succeed, and nothing exists twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Cli, FreshServer
from tests.support.api import Api
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
    fresh_server: FreshServer, cli: Cli, tmp_path: Path, version: str
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
        plan = cli("plan", "--all", "--detailed-exitcode", cwd=tmp_path, api_url=server.api_url)
        assert plan.code == 0, plan.stdout


@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", [PREFECT_3, PREFECT_2])
def test_equal_deploy_between_any_two_requests_of_another(
    fresh_server: FreshServer, cli: Cli, tmp_path: Path, version: str
) -> None:
    """Both have read the server before one of them writes; one is held at each of its requests."""
    server = fresh_server(version, scheduler=False)
    write_project(tmp_path, json.dumps(project(server.major, 1)))
    data = server.snapshot()
    with (
        Proxy(server.api_url) as one,
        Proxy(server.api_url) as other,
        ThreadPoolExecutor(2) as executor,
    ):

        def start(proxy: Proxy, held_from: int) -> Callable[[], CommandResult]:
            """Starts a deploy and returns when it is held, or has ended; returns how to go on."""
            proxy.clear()
            resume = proxy.delay(500, since=held_from, times=None)
            deploy = executor.submit(cli, "deploy", "--all", cwd=tmp_path, api_url=proxy.api_url)
            until(lambda: deploy.done() or len(proxy.exchanges) >= held_from)

            def go_on() -> CommandResult:
                resume.set()
                return deploy.result()

            return go_on

        start(one, 1000)()
        first_write = one.writes[0].number
        for number in count(first_write + 1):
            server.reset(data)
            second = start(other, first_write)
            first = start(one, number)
            if len(one.exchanges) < number:
                second()
                break
            for result in (second(), first()):
                assert result.code == 0, f"request {number}\n{result.stdout}\n{result.stderr}"
            check_server(server, 1)
