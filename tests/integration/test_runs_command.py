"""`run` and `logs`; the tests set the states that a worker would set."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Cli
from tests.support.environment import isolated
from tests.support.project_harness import ProjectHarness, entry, errors
from tests.support.waiting import TIMEOUT


@pytest.fixture
def deployed(project: ProjectHarness) -> ProjectHarness:
    """Two deployments of `hello(name, times)`, without schedules."""
    project.write([entry(), entry(name="weekly")])
    project.deploy()
    return project


parse_time = datetime.fromisoformat


def runs(project: ProjectHarness) -> list[Any]:
    found: list[Any] = project.api.call("POST", "/flow_runs/filter", {})
    return found


def set_state(project: ProjectHarness, run: str, type_: str, message: str | None = None) -> None:
    state = {"type": type_, "message": message}
    project.api.call("POST", f"/flow_runs/{run}/set_state", {"state": state, "force": True})


def add_logs(
    project: ProjectHarness, run: str, count: int, level: int = 20, first: int = 0
) -> None:
    numbers = range(first, first + count)
    logs = [
        {
            "name": "prefect.flow_runs",
            "level": level,
            "message": f"line {number}",
            "timestamp": f"2030-01-01T00:{number // 60:02}:{number % 60:02}Z",
            "flow_run_id": run,
        }
        for number in numbers
    ]
    project.api.call("POST", "/logs/", logs)


def messages(output: Any) -> list[str]:
    return [log["message"] for log in output["logs"]]


@contextmanager
def started(project: ProjectHarness, *args: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`deployctl ARGS` after it showed the first state, and the id of the run."""
    program = Path(sys.executable).with_name("deployctl")
    env = isolated(project.folder / "home", PREFECT_API_URL=project.api_url)
    with subprocess.Popen(
        [program, *args], cwd=project.folder, env=env, stdout=-1, stderr=-1, text=True
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if " is Scheduled" in line:
                break
        yield running, runs(project)[0]["id"]
        running.kill()


def finish(running: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = running.communicate(timeout=TIMEOUT)
    assert "Traceback" not in stderr
    return running.returncode, stdout, stderr


def test_creates_run_with_given_fields(deployed: ProjectHarness) -> None:
    options = ("--param", "times=3", "--params", '{"name": "x"}', "--name", "mine", "--tag", "a")
    output = deployed.run(
        "run", "daily", *options, "--start-in", "PT1H", "--job-variable", "env={}"
    )
    (run,) = runs(deployed)
    assert output["run"]["id"] == run["id"]
    assert output["run"]["url"].endswith(f"/flow-run/{run['id']}")
    assert run["parameters"] == {"name": "x", "times": 3}
    assert (run["name"], run["tags"], run["job_variables"]) == ("mine", ["a"], {"env": {}})
    assert run["state_type"] == "SCHEDULED"
    start, created = (parse_time(run[key]) for key in ("expected_start_time", "created"))
    assert timedelta(minutes=59) < start - created < timedelta(minutes=61)


def test_lost_response_creates_one_run(deployed: ProjectHarness) -> None:
    deployed.proxy.clear()
    deployed.proxy.drop_answer(method="POST", path="/create_flow_run$")
    program = ("run", "hello/daily", "--output", "json")
    result = deployed.cli(*program, cwd=deployed.folder, api_url=deployed.proxy.api_url)
    assert result.code == 0
    assert len(deployed.proxy.seen("POST", "/create_flow_run$")) >= 2
    assert [run["id"] for run in runs(deployed)] == [json.loads(result.stdout)["run"]["id"]]


@pytest.mark.parametrize(
    ("args", "exit_code", "diagnostic", "text"),
    [
        (("hello/dayly",), 1, "DC660", "Did you mean 'hello/daily'?"),
        (("daily", "--param", "nope=1"), 1, "DC421", "It has 'name', 'times'"),
        (("daily", "--params", "{"), 64, "DC002", "--params is not JSON"),
        (("daily", "--param", "times"), 64, "DC002", "KEY=VALUE"),
        (("daily", "--start-in", "soon"), 64, "DC002", "--start-in"),
        (("daily", "--start-at", "soon"), 64, "DC002", "--start-at"),
        (("daily", "--start-at", "2030-01-01", "--start-in", "1"), 64, "DC002", "exclude"),
    ],
)
def test_rejects_mistake_before_creating_a_run(
    deployed: ProjectHarness, args: tuple[str, ...], exit_code: int, diagnostic: str, text: str
) -> None:
    (error,) = errors(deployed.run("run", *args, code=exit_code))
    assert error["code"] == diagnostic
    assert text in error["message"] + (error["help"] or "")
    assert deployed.proxy.writes == []


def test_error_of_parameter_names_its_type(
    project: ProjectHarness,
) -> None:
    project.write([entry(enforce_parameter_schema=True)])
    project.deploy()
    (error,) = project.run("run", "daily", "--param", "times=many", code=1)["diagnostics"]
    assert error["code"] == "DC420"
    assert error["message"] == "'times' must be a whole number"
    assert runs(project) == []


def test_strict_creates_no_run_after_a_warning(project: ProjectHarness) -> None:
    project.write([entry(enforce_parameter_schema=False)])
    project.deploy()
    project.run("run", "daily", "--param", "times=many", "--strict", code=1)
    assert runs(project) == []
    project.run("run", "daily", "--param", "times=many")
    assert len(runs(project)) == 1


@pytest.mark.parametrize(("final", "code"), [("COMPLETED", 0), ("CRASHED", 1)])
def test_watch_shows_states_and_logs_and_exits_by_final_state(
    deployed: ProjectHarness, final: str, code: int
) -> None:
    with started(deployed, "run", "daily", "--watch") as (running, run):
        for state in ("PENDING", "RUNNING"):
            set_state(deployed, run, state)
        add_logs(deployed, run, 3)
        set_state(deployed, run, final, "the reason")
        exit_code, stdout, _ = finish(running)
    assert exit_code == code
    lines = [line.partition(" | ")[2] for line in stdout.splitlines()]
    states = [line.split(" is ")[1] for line in lines if " is " in line]
    assert states == ["Pending", "Running", f"{final.capitalize()}: the reason"]
    assert [line for line in lines if "line" in line] == [
        f"INFO    | prefect.flow_runs | line {number}" for number in range(3)
    ]


def test_ctrl_c_stops_watching_and_leaves_the_run(deployed: ProjectHarness) -> None:
    with started(deployed, "run", "daily", "--watch") as (running, run):
        running.send_signal(signal.SIGINT)
        code, _, stderr = finish(running)
    assert code == 130
    assert "stopped watching; the run continues" in stderr
    assert [(each["id"], each["state_type"]) for each in runs(deployed)] == [(run, "SCHEDULED")]


def test_watch_ends_when_run_is_deleted(deployed: ProjectHarness) -> None:
    with started(deployed, "run", "daily", "--watch") as (running, run):
        deployed.api.call("DELETE", f"/flow_runs/{run}")
        code, _, stderr = finish(running)
    assert code == 1
    assert "error[DC664]: the run was deleted" in stderr


def test_finds_logs_by_id_name_and_deployment(deployed: ProjectHarness) -> None:
    old = deployed.run("run", "daily", "--name", "same")["run"]["id"]
    new = deployed.run("run", "daily", "--name", "same")["run"]["id"]
    for run, lines in ((old, 1), (new, 2)):
        set_state(deployed, run, "PENDING")
        set_state(deployed, run, "RUNNING")
        add_logs(deployed, run, lines)
    assert messages(deployed.run("logs", old)) == ["line 0"]
    for name in ("same", "hello/daily"):
        output = deployed.run("logs", name)
        assert output["run"]["id"] == new
        assert messages(output) == ["line 0", "line 1"]
        notes = [each["code"] for each in output["diagnostics"]]
        assert notes == (["DC665"] if name == "same" else ["DC667"])
    (error,) = errors(deployed.run("logs", "hello/weekly", code=1))
    assert error["code"] == "DC663"
    (error,) = errors(deployed.run("logs", "unknown", code=1))
    assert error["code"] == "DC660"


def test_logs_are_read_from_all_pages_oldest_first(deployed: ProjectHarness) -> None:
    run = deployed.run("run", "daily")["run"]["id"]
    assert [each["code"] for each in deployed.run("logs", run)["diagnostics"]] == ["DC666"]
    add_logs(deployed, run, 450)
    add_logs(deployed, run, 2, level=40, first=450)
    every = [f"line {number}" for number in range(452)]
    assert messages(deployed.run("logs", run)) == every
    assert messages(deployed.run("logs", run, "--tail", "210")) == every[-210:]
    assert messages(deployed.run("logs", run, "--level", "error")) == every[-2:]
    shown = deployed.cli(
        "logs", run, "--tail", "1", cwd=deployed.folder, api_url=deployed.api_url, TZ="UTC"
    )
    assert shown.stdout == "00:07:31 | ERROR   | prefect.flow_runs | line 451\n"


def test_follow_ends_with_the_run(deployed: ProjectHarness) -> None:
    run = deployed.run("run", "daily")["run"]["id"]
    add_logs(deployed, run, 1)
    with started(deployed, "logs", run, "--follow") as (running, _):
        add_logs(deployed, run, 1, first=1)
        set_state(deployed, run, "COMPLETED")
        code, stdout, _ = finish(running)
    assert code == 0
    assert stdout.count("line 1") == 1
    assert "is Completed" in stdout


@pytest.mark.parametrize(
    "command", [("run", "a/b"), ("logs", "a/b"), ("status",), ("work-pool", "ls")]
)
def test_unreachable_server_error_names_the_address(
    command: tuple[str, ...], cli: Cli, tmp_path: Path
) -> None:
    result = cli(*command, cwd=tmp_path, api_url="http://127.0.0.1:1/api")
    assert result.code == 1
    assert "error[DC010]" in result.stderr
    assert "127.0.0.1:1" in result.stderr
