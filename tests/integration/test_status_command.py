"""`status` and `work-pool`, on both majors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_runs_command import set_state
from tests.support.environment import isolated
from tests.support.project_harness import ProjectHarness, entry, errors


@pytest.fixture
def deployed(project: ProjectHarness) -> ProjectHarness:
    project.write([entry(), entry(name="weekly", schedules=[{"cron": "0 8 1 1 *"}])])
    project.deploy()
    return project


def by_name(said: Any, kind: str) -> dict[str, Any]:
    return {each["name"]: each for each in said[kind]}


def test_status_shows_the_deployments_of_the_file_and_their_pools(deployed: ProjectHarness) -> None:
    done = deployed.run("run", "daily", "--name", "done")["run"]["id"]
    set_state(deployed, done, "COMPLETED")
    deployed.run("run", "daily", "--name", "waits", "--start-in", "3600")
    deployed.write([entry(), entry(name="new")])
    said = deployed.run("status")
    found = by_name(said, "deployments")
    assert list(found) == ["hello/daily", "hello/new"]
    assert found["hello/daily"]["last_run"]["name"] == "done"
    assert found["hello/daily"]["last_run"]["state"] == "Completed"
    assert found["hello/daily"]["next_run"]["name"] == "waits"
    assert found["hello/new"]["deployed"] is False
    assert [(pool["name"], pool["workers_online"]) for pool in said["pools"]] == [("pool", 0)]
    assert said["stuck"] == []


def test_a_late_run_is_shown_with_what_keeps_it(deployed: ProjectHarness) -> None:
    late = deployed.run("run", "daily", "--name", "late", "--start-at", "2020-01-01")["run"]["id"]
    state = {"type": "SCHEDULED", "name": "Late"}
    deployed.api.call("POST", f"/flow_runs/{late}/set_state", {"state": state, "force": True})
    for change, reason in (
        ({}, "no worker of the work pool 'pool' is online"),
        ({"is_paused": True}, "the work pool 'pool' is paused"),
    ):
        deployed.api.call("PATCH", "/work_pools/pool", change)
        said = deployed.run("status", "--pool", "pool")
        assert [(each["run"]["name"], each["reason"]) for each in said["stuck"]] == [
            ("late", reason)
        ]
        assert by_name(said, "pools")["pool"]["late_runs"] == 1
    heartbeat = {"name": "w", "heartbeat_interval_seconds": 30}
    deployed.api.call("POST", "/work_pools/pool/workers/heartbeat", heartbeat)
    assert by_name(deployed.run("status"), "pools")["pool"]["workers_online"] == 1


def test_names_and_all_look_at_the_server_instead_of_the_file(deployed: ProjectHarness) -> None:
    deployed.write([entry()])
    assert list(by_name(deployed.run("status", "week*"), "deployments")) == ["hello/weekly"]
    assert len(deployed.run("status", "--all")["deployments"]) == 2
    (error,) = errors(deployed.run("status", "weekli", code=1))
    assert (error["code"], error["help"]) == ("DC660", "Did you mean 'weekly'?")
    (error,) = errors(deployed.run("status", "--pool", "poool", code=1))
    assert (error["code"], error["help"]) == ("DC660", "Did you mean 'pool'?")


def test_a_person_gets_tables(deployed: ProjectHarness) -> None:
    shown = deployed.cli("status", cwd=deployed.folder, api_url=deployed.api_url)
    lines = shown.stdout.splitlines()
    assert lines[0].split("  ")[0] == "work pool"
    assert any(line.startswith("hello/daily") and "pool" in line for line in lines)
    assert shown.code == 0


def test_a_pool_from_its_creation_to_its_end(project: ProjectHarness) -> None:
    options = ("--type", "process", "--concurrency-limit", "2", "--description", "ours")
    made = project.run("work-pool", "create", "mine", *options, "--paused")["work_pool"]
    assert (made["type"], made["concurrency_limit"], made["description"]) == ("process", 2, "ours")
    assert made["is_paused"] is True
    assert "command" in made["base_job_template"]["variables"]["properties"]
    (error,) = errors(project.run("work-pool", "create", "mine", code=1))
    assert "exists" in error["message"]
    template = {
        "job_configuration": {"command": "{{ command }}"},
        "variables": {"type": "object", "properties": {"command": {"type": "string"}}},
    }
    (project.folder / "t.json").write_text(json.dumps(template))
    project.run("work-pool", "update", "mine", "--no-paused", "--base-job-template", "t.json")
    now = project.run("work-pool", "inspect", "mine")["work_pool"]
    assert (now["is_paused"], now["concurrency_limit"]) == (False, 2)
    assert now["base_job_template"]["job_configuration"] == template["job_configuration"]
    assert {"pool", "mine"} <= by_name(project.run("work-pool", "ls"), "work_pools").keys()
    (error,) = errors(project.run("work-pool", "delete", "mine", code=64))
    assert error["help"] == "Add --yes."
    assert project.proxy.exchanges == []
    project.run("work-pool", "delete", "mine", "--yes")
    for verb in ("inspect", "delete"):
        more = ("--yes",) if verb == "delete" else ()
        (error,) = errors(project.run("work-pool", verb, "mine", *more, code=1))
        assert error["code"] == "DC660"
    (error,) = errors(project.run("work-pool", "update", "pool", code=64))
    assert "nothing to change" in error["message"]


@pytest.mark.parametrize("loses", ["POST", "DELETE"])
def test_a_lost_answer_to_a_pools_creation_or_deletion_is_no_failure(
    project: ProjectHarness, loses: str
) -> None:
    for verb, more in (("create", ()), ("delete", ("--yes",))):
        project.proxy.clear()
        project.proxy.drop_answer(method=loses, path="^/work_pools/")
        done = project.cli(
            "work-pool", verb, "lost", *more, cwd=project.folder, api_url=project.proxy.api_url
        )
        assert done.code == 0, done.stderr


@pytest.mark.parametrize(
    ("typed", "code", "left"), [("n", 1, True), ("\4", 1, True), ("y", 0, False)]
)
def test_on_a_terminal_a_deletion_is_asked_for(
    typed: str, code: int, left: bool, project: ProjectHarness
) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(ours, "wb", buffering=0) as keyboard, os.fdopen(theirs) as terminal:
        keyboard.write(typed.encode() + b"\n" * (typed != "\4"))
        done = subprocess.run(
            [Path(sys.executable).with_name("deployctl"), "work-pool", "delete", "pool"],
            env=isolated(project.folder / "home", PREFECT_API_URL=project.api_url),
            stdin=terminal,
            capture_output=True,
            text=True,
            check=False,
        )
    assert "Delete the work pool 'pool'" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == code
    pools = project.api.call("POST", "/work_pools/filter", {})
    assert ("pool" in [pool["name"] for pool in pools]) is left


def test_a_default_template_is_one_that_create_takes(project: ProjectHarness) -> None:
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
