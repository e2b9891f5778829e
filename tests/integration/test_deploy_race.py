"""Two equal first deploys at the same time: both succeed, and nothing exists twice."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.conftest import Cli, FreshServer
from tests.support.api import Api
from tests.support.project import write_project
from tests.support.project_harness import TRIGGER
from tests.support.servers import PREFECT_2, PREFECT_3


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", [PREFECT_3, PREFECT_2])
def test_two_equal_first_deploys_at_once(
    fresh_server: FreshServer, cli: Cli, tmp_path: Path, version: str
) -> None:
    server = fresh_server(version, scheduler=False)
    triggers = {"triggers": [TRIGGER]} if server.major == 3 else {}
    file = {
        "name": "race",
        "work_pools": [{"name": "own", "type": "process", "queues": [{"name": "q"}]}],
        "deployments": [
            {
                "name": f"d{number}",
                "entrypoint": "flows.py:hello",
                "work_pool": {"name": "own", "work_queue_name": "q"},
                "schedules": [{"cron": "0 7 * * *"}, {"interval": 3600}],
                **triggers,
            }
            for number in range(6)
        ],
    }
    write_project(tmp_path, json.dumps(file))
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
        with Api(server.api_url) as api:
            for number in range(6):
                assert len(api.deployment("hello", f"d{number}")["schedules"]) == 2
            if server.major == 3:
                names = sorted(each["name"] for each in api.automations())
                assert names == [f"d{number}__automation_1" for number in range(6)]
        plan = cli("plan", "--all", "--detailed-exitcode", cwd=tmp_path, api_url=server.api_url)
        assert plan.code == 0, plan.stdout
