"""`status` and `work-pool`, on Prefect 2 and 3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deployctl.app.operating.status import Scope, read_status
from tests.integration.test_runs_command import set_state
from tests.support.environment import isolated
from tests.support.project_harness import ProjectHarness, entry, errors
from tests.unit.app.fake_driver import run_with


@pytest.fixture
def deployed(project: ProjectHarness) -> ProjectHarness:
    project.write([entry(), entry(name="weekly", schedules=[{"cron": "0 8 1 1 *"}])])
    project.deploy()
    return project


def by_name(output: Any, kind: str) -> dict[str, Any]:
    return {each["name"]: each for each in output[kind]}


def test_shows_deployments_of_file_and_their_pools(deployed: ProjectHarness) -> None:
    done = deployed.run("run", "daily", "--name", "done")["run"]["id"]
    set_state(deployed, done, "COMPLETED")
    deployed.run("run", "daily", "--name", "waits", "--start-in", "3600")
    deployed.write([entry(), entry(name="new")])
    output = deployed.run("status")
    found = by_name(output, "deployments")
    assert list(found) == ["hello/daily", "hello/new"]
    assert found["hello/daily"]["last_run"]["name"] == "done"
    assert found["hello/daily"]["last_run"]["state"] == "Completed"
    assert found["hello/daily"]["next_run"]["name"] == "waits"
    assert found["hello/new"]["deployed"] is False
    assert [(pool["name"], pool["workers_online"]) for pool in output["pools"]] == [("pool", 0)]
    assert output["stuck"] == []


def test_shows_late_run_with_reason(deployed: ProjectHarness) -> None:
    late = deployed.run("run", "daily", "--name", "late", "--start-at", "2020-01-01")["run"]["id"]
    state = {"type": "SCHEDULED", "name": "Late"}
    deployed.api.call("POST", f"/flow_runs/{late}/set_state", {"state": state, "force": True})
    for change, reason in (
        ({}, "no worker of the work pool 'pool' is online"),
        ({"is_paused": True}, "the work pool 'pool' is paused"),
    ):
        deployed.api.call("PATCH", "/work_pools/pool", change)
        output = deployed.run("status", "--pool", "pool")
        assert [(each["run"]["name"], each["reason"]) for each in output["stuck"]] == [
            ("late", reason)
        ]
        assert by_name(output, "pools")["pool"]["late_runs"] == 1
    heartbeat = {"name": "w", "heartbeat_interval_seconds": 30}
    deployed.api.call("POST", "/work_pools/pool/workers/heartbeat", heartbeat)
    assert by_name(deployed.run("status"), "pools")["pool"]["workers_online"] == 1


def test_shows_runs_that_nothing_moves(deployed: ProjectHarness) -> None:
    """Left by whatever worker: here by none."""
    api = deployed.api

    def started(name: str) -> str:
        run: str = deployed.run("run", "daily", "--name", name)["run"]["id"]
        for state in ("PENDING", "RUNNING"):
            set_state(deployed, run, state)
        return run

    retried, paused, cancelled = (started(name) for name in ("retried", "paused", "cancelled"))
    pending = deployed.run("run", "daily", "--name", "pending")["run"]["id"]
    set_state(deployed, pending, "PENDING")
    policy = {"empirical_policy": {"retries": 1, "retry_delay": 60}}
    api.call("PATCH", f"/flow_runs/{retried}", policy)
    failed = {"state": {"type": "FAILED", "message": "the source is down"}}
    api.call("POST", f"/flow_runs/{retried}/set_state", failed)
    timeout = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    details = {"pause_timeout": timeout, "pause_reschedule": False}
    state = {"type": "PAUSED", "name": "Paused", "state_details": details}
    api.call("POST", f"/flow_runs/{paused}/set_state", {"state": state})
    set_state(deployed, cancelled, "CANCELLING")
    deployed.run("run", "daily", "--name", "later", "--start-in", "3600")

    def stuck(later: timedelta) -> dict[str, str | None]:
        found = run_with(
            read_status(Scope(pool="pool"), datetime.now(UTC) + later),
            lambda request: api.call(request.method, request.path, request.body),
        )
        return {each.run.name: each.reason for each in found.stuck}

    assert stuck(timedelta(0)) == {}
    found = stuck(timedelta(minutes=10))
    assert found.keys() == {"retried", "paused", "cancelled", "pending"}
    assert all(reason and "in the UI" in reason for reason in found.values())


def test_names_and_all_select_from_the_server(deployed: ProjectHarness) -> None:
    deployed.write([entry()])
    assert list(by_name(deployed.run("status", "week*"), "deployments")) == ["hello/weekly"]
    assert len(deployed.run("status", "--all")["deployments"]) == 2
    (error,) = errors(deployed.run("status", "weekli", code=1))
    assert (error["code"], error["help"]) == ("DC660", "Did you mean 'weekly'?")
    (error,) = errors(deployed.run("status", "--pool", "poool", code=1))
    assert (error["code"], error["help"]) == ("DC660", "Did you mean 'pool'?")


def test_human_output_has_tables(deployed: ProjectHarness) -> None:
    shown = deployed.cli("status", cwd=deployed.folder, api_url=deployed.api_url)
    lines = shown.stdout.splitlines()
    assert lines[0].split("  ")[0] == "work pool"
    assert any(line.startswith("hello/daily") and "pool" in line for line in lines)
    assert shown.code == 0


def test_creates_updates_and_deletes_pool(project: ProjectHarness) -> None:
    options = ("--type", "process", "--concurrency-limit", "2", "--description", "ours")
    created = project.run("work-pool", "create", "mine", *options, "--paused")["work_pool"]
    assert (created["type"], created["concurrency_limit"], created["description"]) == (
        "process",
        2,
        "ours",
    )
    assert created["is_paused"] is True
    assert "command" in created["base_job_template"]["variables"]["properties"]
    (error,) = errors(project.run("work-pool", "create", "mine", code=1))
    assert "exists" in error["message"]
    template = {
        "job_configuration": {"command": "{{ command }}"},
        "variables": {"type": "object", "properties": {"command": {"type": "string"}}},
    }
    (project.folder / "t.json").write_text(json.dumps(template))
    project.run("work-pool", "update", "mine", "--no-paused", "--base-job-template", "t.json")
    updated = project.run("work-pool", "inspect", "mine")["work_pool"]
    assert (updated["is_paused"], updated["concurrency_limit"]) == (False, 2)
    assert updated["base_job_template"]["job_configuration"] == template["job_configuration"]
    assert {"pool", "mine"} <= by_name(project.run("work-pool", "ls"), "work_pools").keys()
    (error,) = errors(project.run("work-pool", "delete", "mine", code=64))
    assert error["help"] == "Add --yes."
    project.write([entry(name=f"d{n:02}", work_pool={"name": "mine"}) for n in range(12)])
    project.deploy()
    (error,) = errors(project.run("work-pool", "delete", "mine", code=64))
    assert error["help"].startswith("12 deployments would be without a work pool: 'hello/d00', ")
    assert error["help"].endswith("'hello/d09' and 2 more. Add --yes.")
    assert project.proxy.writes == []
    project.run("work-pool", "delete", "mine", "--yes")
    for verb in ("inspect", "delete"):
        more = ("--yes",) if verb == "delete" else ()
        (error,) = errors(project.run("work-pool", verb, "mine", *more, code=1))
        assert error["code"] == "DC660"
    (error,) = errors(project.run("work-pool", "update", "pool", code=64))
    assert "nothing to change" in error["message"]


@pytest.mark.parametrize("lost_method", ["POST", "DELETE"])
def test_lost_response_to_create_or_delete_is_no_failure(
    project: ProjectHarness, lost_method: str
) -> None:
    for verb, more in (("create", ()), ("delete", ("--yes",))):
        project.proxy.clear()
        project.proxy.drop_answer(method=lost_method, path="^/work_pools/")
        result = project.cli(
            "work-pool", verb, "lost", *more, cwd=project.folder, api_url=project.proxy.api_url
        )
        assert result.code == 0, result.stderr


@pytest.mark.parametrize(
    ("typed", "code", "is_left"), [("n", 1, True), ("\4", 1, True), ("y", 0, False)]
)
def test_delete_prompts_on_a_terminal(
    typed: str, code: int, is_left: bool, project: ProjectHarness
) -> None:
    controller, terminal_end = os.openpty()
    with os.fdopen(controller, "wb", buffering=0) as keyboard, os.fdopen(terminal_end) as terminal:
        keyboard.write(typed.encode() + b"\n" * (typed != "\4"))
        result = subprocess.run(
            [Path(sys.executable).with_name("deployctl"), "work-pool", "delete", "pool"],
            env=isolated(project.folder / "home", PREFECT_API_URL=project.api_url),
            stdin=terminal,
            capture_output=True,
            text=True,
            check=False,
        )
    assert "Delete the work pool 'pool'" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.returncode == code
    pools = project.api.call("POST", "/work_pools/filter", {})
    assert ("pool" in [pool["name"] for pool in pools]) is is_left


def test_create_accepts_default_template(project: ProjectHarness) -> None:
    command = ("work-pool", "get-default-base-job-template", "--type")
    printed = project.cli(*command, "docker", cwd=project.folder)
    project.cli(*command, "docker", "--file", "docker.json", cwd=project.folder)
    assert (project.folder / "docker.json").read_text() == printed.stdout
    assert "image" in json.loads(printed.stdout)["variables"]["properties"]
    project.run(
        "work-pool", "create", "d", "--type", "docker", "--base-job-template", "docker.json"
    )
    unknown = project.cli(*command, "ecs", cwd=project.folder)
    assert (unknown.code, "There are: kubernetes, docker, process" in unknown.stderr) == (64, True)


def test_metrics_count_what_is_on_the_server(deployed: ProjectHarness) -> None:
    done = deployed.run("run", "daily", "--name", "done")["run"]["id"]
    set_state(deployed, done, "COMPLETED")
    late = deployed.run("run", "daily", "--start-at", "2020-01-01")["run"]["id"]
    state = {"type": "SCHEDULED", "name": "Late"}
    deployed.api.call("POST", f"/flow_runs/{late}/set_state", {"state": state, "force": True})
    deployed.proxy.clear()
    printed = deployed.cli("metrics", "--once", cwd=deployed.folder, api_url=deployed.proxy.api_url)
    assert printed.code == 0, printed.stderr
    lines = dict(line.rsplit(" ", 1) for line in printed.stdout.splitlines() if line[0] != "#")
    assert float(lines["prefect_deployments_total"]) == 2
    assert float(lines["prefect_work_queues_total"]) == 1
    assert float(lines['prefect_flow_run_state_total{state="Completed"}']) == 1
    assert float(lines['prefect_flow_run_state_total{state="Late"}']) == 1
    assert float(lines['prefect_flow_run_state_past_24_hours_total{state="Completed"}']) == 1
    assert float(lines["deployctl_server_late_runs"]) == 1
    assert float(lines["deployctl_server_max_lateness_seconds"]) > 1e8
    assert sum("prefect_info_deployment{" in line for line in lines) == 2
    paths = [exchange.path for exchange in deployed.proxy.exchanges]
    assert sorted(paths) == [
        *("/deployments/filter", "/flow_runs/filter", "/flow_runs/history", "/flow_runs/history"),
        *("/flows/filter", "/work_pools/filter", "/work_queues/filter"),
    ]
