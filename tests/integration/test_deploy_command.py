"""Deploys with pools, steps, several files, failures and races."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deployctl.jobs.base_job_templates import base_job_template
from tests.integration.conftest import Cli
from tests.support.project import write_project
from tests.support.project_harness import TRIGGER, ProjectHarness, entry, errors
from tests.support.waiting import TIMEOUT, until


def test_missing_work_pool_is_an_error_before_any_write(
    project: ProjectHarness,
) -> None:
    project.write([entry(work_pool={"name": "pol"}), entry(name="ok")])
    output = project.deploy(code=1)
    (problem,) = errors(output)
    assert "'pol'" in problem["message"]
    assert "pool" in problem["help"]
    assert problem["span"]["line"] == 1
    assert project.proxy.writes == []


def test_create_pools_creates_missing_pool(project: ProjectHarness) -> None:
    project.write(
        [entry(work_pool={"name": "new", "job_variables": {"image": "x", "env": {"A": "b"}}})]
    )
    project.deploy("--create-pools")
    pool = project.api.call("GET", "/work_pools/new")
    assert pool["type"] == "kubernetes"
    assert "image" in pool["base_job_template"]["variables"]["properties"]
    assert project.ops() == {}


def test_update_without_job_variables_on_pool_with_template(
    project: ProjectHarness,
) -> None:
    """2.20 validates the job variables of every update that has a pool, even if it has none."""
    project.api.pool("templated", "kubernetes", base_job_template("kubernetes"))
    for description in ("first", "second"):
        project.write([entry(work_pool={"name": "templated"}, description=description)])
        project.deploy()
    assert project.live()["description"] == "second"


def test_declared_pools_and_queues_are_written_first_and_kept(project: ProjectHarness) -> None:
    pools = [
        {
            "name": "declared",
            "type": "process",
            "description": "ours",
            "concurrency_limit": 5,
            "queues": [{"name": "default", "priority": 3}, {"name": "fast", "priority": 1}],
        }
    ]
    project.write(
        [entry(work_pool={"name": "declared", "work_queue_name": "fast"})], work_pools=pools
    )
    project.deploy()
    pool = project.api.call("GET", "/work_pools/declared")
    assert (pool["type"], pool["concurrency_limit"]) == ("process", 5)
    queues = project.api.call("POST", "/work_pools/declared/queues/filter", {})
    assert {q["name"]: q["priority"] for q in queues} == {"default": 3, "fast": 1}
    assert project.ops() == {}


def test_one_failure_stops_nothing_else_and_is_summarised(
    project: ProjectHarness,
) -> None:
    project.write([entry(), entry(name="weekly")])
    project.proxy.clear()
    project.proxy.answer(422, method="POST", path="/deployments/$", times=1, body={"detail": "no"})
    ended = project.cli(
        "deploy", "--all", "--output", "json", cwd=project.folder, api_url=project.proxy.api_url
    )
    assert ended.code == 1
    output = json.loads(ended.stdout)
    assert sorted(r["status"] for r in output["results"] if r["kind"] == "deployment") == [
        "applied",
        "failed",
    ]
    assert project.ops() == {"create": 1}
    project.deploy()
    assert project.ops() == {}


def test_update_sends_all_declared_fields_so_that_races_leave_one_version(
    project: ProjectHarness, cli: Cli
) -> None:
    project.write([entry(tags=["a"], description="a")])
    project.deploy()
    project.write([entry(tags=["b"], description="b")])
    project.proxy.clear()
    delayed = project.proxy.delay(TIMEOUT, method="PATCH", path="/deployments/")
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(
            cli, "deploy", "--all", cwd=project.folder, api_url=project.proxy.api_url
        )
        until(lambda: project.proxy.seen("PATCH") or slow.done())
        project.api.update("hello", "daily", tags=["c"], description="c")
        delayed.set()
        assert slow.result().code == 0
    live = project.live()
    assert (live["tags"], live["description"]) == (["b"], "b")


def test_two_concurrent_deploys_leave_what_one_file_declares(
    project: ProjectHarness, cli: Cli, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = {text: tmp_path_factory.mktemp(text) for text in ("one", "two")}
    for text, folder in folders.items():
        names = ["shared", text]
        fields = {"tags": [text], "description": text}
        file = {"name": "project", "deployments": [entry(name=name, **fields) for name in names]}
        write_project(folder, json.dumps(file))
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(cli, "deploy", "--all", cwd=folder, api_url=project.api_url)
            for folder in folders.values()
        ]
        codes = sorted(run.result().code for run in runs)
    shared = project.live("shared")
    (winner,) = shared["tags"]
    assert shared["description"] == winner
    record = project.api.call("GET", "/artifacts/deployctl-project/latest")["data"]["items"]
    on_record = {key[1] for key, _ in record["deployment"]}
    # Both succeed if one had ended before the other one read the server.
    expected = {(0, 0): {"shared", "one", "two"}, (0, 1): {"shared", winner}}
    assert on_record == expected[codes[0], codes[1]]


def test_unsafe_values_are_an_error_before_any_write(
    project: ProjectHarness,
) -> None:
    project.write([entry(schedules=[{"corn": "0 1 * * *"}])])
    output = project.deploy(code=1)
    assert output["diagnostics"][0]["code"] == "DC120"
    assert project.proxy.writes == []


def test_problems_of_unselected_entries_are_ignored(
    project: ProjectHarness,
) -> None:
    project.write(
        [{"name": "broken"}, entry(name="prod", tags=["{{ $ONLY_IN_PROD }}"]), entry(name="ok")]
    )
    output = project.run("deploy", "-n", "ok")
    assert output["diagnostics"] == []
    project.deploy(code=1)


def test_problem_of_command_line_value_has_no_span_in_the_file(project: ProjectHarness) -> None:
    project.write([entry()])
    output = project.run("plan", "--pool", "nope", code=1)
    (problem,) = output["diagnostics"]
    assert (problem["code"], problem["span"]) == ("DC510", None)


def test_two_files_are_deployed_in_order_and_share_pools(project: ProjectHarness) -> None:
    project.write([entry()], work_pools=[{"name": "own", "type": "process"}])
    second = {"name": "second", "deployments": [entry(name="b", work_pool={"name": "own"})]}
    (project.folder / "b.yaml").write_text(json.dumps(second))
    files = ("--prefect-file", "prefect.yaml", "--prefect-file", "b.yaml")
    project.deploy(*files)
    assert project.live("b")["work_pool_name"] == "own"
    output = project.run("plan", "--all", *files)
    assert output["summary"]["none"] == len(output["changes"]) == 3


def test_same_deployment_in_two_files_is_an_error(project: ProjectHarness) -> None:
    project.write([entry()])
    (project.folder / "b.yaml").write_text(json.dumps({"deployments": [entry()]}))
    output = project.deploy("--prefect-file", "prefect.yaml", "--prefect-file", "b.yaml", code=1)
    assert [d["code"] for d in errors(output)] == ["DC129"]


def test_changed_pool_type_is_an_error_before_any_write(
    project: ProjectHarness,
) -> None:
    project.write([entry()], work_pools=[{"name": "pool", "type": "kubernetes"}])
    output = project.deploy(code=1)
    assert [d["code"] for d in errors(output)] == ["DC515"]
    assert project.proxy.writes == []


def test_steps_run_once_and_outputs_reach_every_deployment(project: ProjectHarness) -> None:
    script = "sh -c 'echo ran >> count; echo out'"
    step = {"prefect.deployments.steps.run_shell_script": {"id": "say", "script": script}}
    tagged = {"tags": ["{{ say.stdout }}"]}
    project.write([entry(**tagged), entry(name="weekly", **tagged)], build=[step])
    plan = project.run("plan", "--all")
    assert "unknown" in json.dumps(plan["changes"])
    assert not (project.folder / "count").exists()
    project.deploy()
    assert (project.folder / "count").read_text() == "ran\n"
    assert project.live()["tags"] == project.live("weekly")["tags"] == ["out"]
    project.deploy()
    assert project.proxy.writes == []


def test_failing_step_prevents_all_writes_and_names_deployment(project: ProjectHarness) -> None:
    step = {"prefect.deployments.steps.run_shell_script": {"script": "false"}}
    project.write([entry(build=[step])])
    output = project.deploy(code=1)
    assert "hello/daily" in output["diagnostics"][0]["message"]
    assert project.proxy.writes == []
    project.deploy("--skip-build")


def undeclared(output: Any) -> list[tuple[str, list[str]]]:
    return [(each["name"], each["schedules"]) for each in output["undeclared"]]


def test_lists_what_the_project_no_longer_declares(project: ProjectHarness) -> None:
    old = entry(schedules=[{"cron": "0 1 * * *"}])
    project.write([old, entry(name="other")])
    assert undeclared(project.deploy()) == []
    project.write([entry(name="other")])
    output = project.deploy()
    assert undeclared(output) == [("hello/daily", ["cron 0 1 * * *"])]
    assert project.proxy.writes == []
    assert undeclared(project.run("plan", "--all")) == undeclared(output)
    project.write([entry(name="other"), entry(name="new")])
    assert undeclared(project.run("plan", "-n", "other")) == []
    identity = project.live()["id"]
    project.api.call("DELETE", f"/deployments/{identity}")
    assert undeclared(project.run("plan", "--all")) == []


def test_lists_queues_and_automations_that_are_no_longer_declared(project: ProjectHarness) -> None:
    triggers = {"triggers": [TRIGGER]} if project.major == 3 else {}
    pools = [{"name": name, "type": "process", "queues": [{"name": "q"}]} for name in ("a", "b")]
    project.write([entry(**triggers), entry(name="other")], work_pools=pools)
    assert project.deploy()["undeclared"] == []
    project.write([entry(name="other")], work_pools=[{"name": "a", "type": "process"}])
    expected = [
        ("work_pool", "b"),
        ("work_queue", "a/q"),
        ("work_queue", "b/q"),
        ("deployment", "hello/daily"),
        *([("automation", "hello/daily/daily__automation_1")] if triggers else []),
    ]
    for command in ("deploy", "plan", "deploy"):
        output = project.run(command, "--all")
        assert [(each["kind"], each["name"]) for each in output["undeclared"]] == expected
        assert output["summary"]["undeclared"] == len(expected)


def test_a_version_from_git_is_no_change_for_ever(project: ProjectHarness) -> None:
    function = "prefect.deployments.steps.run_shell_script"
    steps = [{function: {"id": "commit", "script": "git rev-parse HEAD"}}]
    project.write([entry(version="{{ commit.stdout }}")], build=steps)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], cwd=project.folder, check=True)
    assert project.run("plan", "--all", "--detailed-exitcode", code=2)["summary"]["create"] == 1
    project.deploy()
    assert project.run("plan", "--all", "--detailed-exitcode")["summary"]["none"] == 1
    subprocess.run(
        [*git, "commit", "-q", "--allow-empty", "-m", "two"], cwd=project.folder, check=True
    )
    assert project.run("plan", "--all", "--detailed-exitcode", code=2)["summary"]["update"] == 1


def test_keep_going_deploys_what_is_valid(project: ProjectHarness) -> None:
    """Each entry but the first has an error of another stage of the command."""
    invalid = [
        entry(name="no entrypoint", entrypoint=None),
        entry(name="no file", entrypoint="gone.py:hello"),
        entry(name="wrong parameter", parameters={"times": "many"}),
        entry(name="no pool", work_pool={"name": "gone"}),
        entry(name="no variable", description="{{ prefect.variables.gone }}"),
    ]
    project.write([entry(), *invalid])
    output = project.deploy(code=1)
    assert project.proxy.writes == []
    output = project.deploy("--keep-going", code=1)
    assert {each["code"] for each in errors(output)} == {
        "DC127",
        "DC403",
        "DC420",
        "DC510",
        "DC304",
    }
    assert [each["name"] for each in output["results"]] == ["hello/daily"]
    deployed = project.api.call("POST", "/deployments/filter", {})
    assert [each["name"] for each in deployed] == ["daily"]
    # A deployment that is left out is still declared.
    project.write([entry(name="no file"), entry()])
    project.deploy()
    project.write([entry(name="no file", entrypoint="gone.py:hello"), entry(tags=["x"])])
    output = project.deploy("--keep-going", code=1)
    assert "no file" not in str(output.get("undeclared", ""))
    assert project.live()["tags"] == ["x"]
    assert project.live("no file")["name"] == "no file"


def test_keep_going_leaves_out_what_fails_after_loading(project: ProjectHarness) -> None:
    """A failing step, a warning with --strict, and a build step without outputs in --images."""
    script = {"prefect.deployments.steps.run_shell_script": {"script": "false"}}
    fails = entry(name="fails", build=[script])
    warns = entry(name="warns", descripton="misspelt")
    images = project.folder / "images.json"
    images.write_text(json.dumps({"outputs": {}, "pins": {}}))
    cases = [
        (fails, "DC005", ()),
        (warns, "DC120", ("--strict",)),
        (fails, "DC341", ("--images", str(images))),
    ]
    for number, (broken, code, options) in enumerate(cases):
        project.write([broken, entry(tags=[str(number)])])
        output = project.deploy(*options, code=1)
        assert code in {each["code"] for each in output["diagnostics"]}
        assert project.proxy.writes == []
        output = project.deploy("--keep-going", *options, code=1)
        assert code in {each["code"] for each in output["diagnostics"]}
        assert [each["name"] for each in output["results"]] == ["hello/daily"]
        assert project.live()["tags"] == [str(number)]


def test_keep_going_with_steps(project: ProjectHarness) -> None:
    build = [{"prefect.deployments.steps.run_shell_script": {"id": "v", "script": "echo 7"}}]
    wrong = entry(name="wrong", parameters={"times": "{{ v.stdout }}", "name": ["no text"]})
    project.write([entry(version="{{ v.stdout }}"), wrong], build=build)
    output = project.deploy("--keep-going", code=1)
    assert [each["name"] for each in output["results"]] == ["hello/daily"]
    assert project.live()["version"] == "7"
