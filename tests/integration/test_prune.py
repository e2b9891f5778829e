"""`--prune` on both servers: deletes what the project applied earlier, and nothing else."""

from __future__ import annotations

import json
from typing import Any

from tests.support.project_harness import TRIGGER, ProjectHarness, entry, errors


def names(output: Any, op: str = "delete") -> list[tuple[str, str]]:
    """Kind and name of each root with this operation in a plan."""
    return [(each["kind"], each["name"]) for each in output["changes"] if each["op"] == op]


def deployed(project: ProjectHarness) -> list[str]:
    """The names of all deployments of the server."""
    found = project.api.call("POST", "/deployments/filter", {})
    return sorted(each["name"] for each in found)


def other_project(project: ProjectHarness, *names: str) -> None:
    """Deploys these deployments as a project of its own."""
    project.write([entry(name=name) for name in names], name="other")
    project.deploy()


def test_deletes_deployments_with_automations_queues_and_pools(project: ProjectHarness) -> None:
    triggers = {"triggers": [TRIGGER]} if project.major == 3 else {}
    pools = [{"name": name, "type": "process", "queues": [{"name": "q"}]} for name in ("a", "b")]
    old = entry(name="old", schedules=[{"cron": "0 1 * * *"}], **triggers)
    kept = [entry(name=name) for name in ("one", "two", "three")]
    other_project(project, "theirs")
    project.write([old, *kept], work_pools=pools)
    project.deploy()
    project.api.call("POST", f"/deployments/{project.live('old')['id']}/create_flow_run", {})
    project.write(kept, work_pools=[{"name": "a", "type": "process"}])
    expected = [("deployment", "hello/old"), ("work_queue", "a/q"), ("work_pool", "b")]
    plan = project.run("plan", "--all", "--prune", "--detailed-exitcode", code=2)
    assert names(plan) == expected
    assert plan["undeclared"] == []
    (delete, *_) = [each for each in plan["changes"] if each["op"] == "delete"]
    assert [each["kind"] for each in delete["children"]] == ["automation"] * len(triggers)
    assert delete["notes"][0] == "its schedule is deleted with it"
    assert "scheduled run" in delete["notes"][1]
    output = project.deploy("--prune")
    assert names(output) == expected
    assert deployed(project) == ["one", "theirs", "three", "two"]
    if triggers:
        assert project.api.automations() == []
    pools_left = project.api.call("POST", "/work_pools/filter", {})
    assert {each["name"] for each in pools_left} >= {"a", "pool"}
    assert "b" not in {each["name"] for each in pools_left}
    queues = project.api.call("POST", "/work_pools/a/queues/filter", {})
    assert [each["name"] for each in queues] == ["default"]
    project.run("plan", "--all", "--prune", "--detailed-exitcode")
    assert project.run("plan", "--all")["undeclared"] == []


def test_guard_refuses_until_it_is_confirmed(project: ProjectHarness) -> None:
    project.write([entry(name=name) for name in ("a", "b", "c")])
    project.deploy()
    project.write([entry(name="a")])
    warned = project.run("plan", "--all", "--prune")
    assert [each["severity"] for each in warned["diagnostics"]] == ["warning"]
    (error,) = errors(project.deploy("--prune", code=1))
    assert error["code"] == "DC528"
    assert "2 of the 3 resources of the project 'project'" in error["message"]
    assert project.proxy.writes == []
    project.deploy("--prune", "--yes")
    assert deployed(project) == ["a"]
    project.write_text(json.dumps({"deployments": [entry(name="a")]}))
    (unnamed,) = errors(project.deploy("--prune", code=64))
    assert "--prune needs a project name" in unnamed["message"]


def test_guard_knows_other_projects_and_users_of_pools(project: ProjectHarness) -> None:
    shared = {"name": "shared", "type": "process"}
    kept = [entry(name=name) for name in ("a", "b", "c")]
    both = {"name": "both", "type": "process"}
    project.write(kept, work_pools=[shared, both])
    project.deploy()
    guest = entry(name="guest", work_pool={"name": "shared"})
    project.write([guest], name="x", work_pools=[both])
    project.deploy()
    project.write(kept)
    found = {each["message"] for each in errors(project.deploy("--prune", code=1))}
    assert found == {
        "--prune would delete work pool both, which the project 'x' declares",
        "--prune would delete work pool shared, which the deployments guest use",
    }
    assert project.proxy.writes == []


def test_queue_that_a_deployment_uses_is_left_alone(project: ProjectHarness) -> None:
    pool = {"name": "k", "type": "process", "queues": [{"name": "high"}, {"name": "ui"}]}
    kept = [entry(name=name) for name in ("a", "b", "c")]
    used = entry(work_pool={"name": "k", "work_queue_name": "high"})
    moved = entry(name="moved", work_pool={"name": "k"})
    project.write([*kept, used, moved], work_pools=[pool])
    project.deploy()
    project.api.update("hello", "moved", work_queue_name="ui")
    project.write([*kept, used, moved])
    (error,) = errors(project.deploy("--prune", code=1))
    assert (
        error["message"] == "--prune would delete work queue k/ui, which the deployments moved use"
    )
    project.api.update("hello", "moved", work_queue_name="default")
    assert names(project.deploy("--prune")) == [("work_queue", "k/ui")]
    assert project.live()["work_queue_name"] == "high"


def test_pool_that_all_deployments_leave_is_deleted(project: ProjectHarness) -> None:
    entries = [entry(name=name, work_pool={"name": "old"}) for name in ("a", "b", "c")]
    project.write(entries, work_pools=[{"name": "old", "type": "process"}])
    project.deploy()
    for each in entries:
        each["work_pool"] = {"name": "new"}
    project.write(entries, work_pools=[{"name": "new", "type": "process"}])
    assert names(project.deploy("--prune")) == [("work_pool", "old")]
    assert project.live("a")["work_pool_name"] == "new"


def test_what_another_file_of_the_command_declares_is_left_alone(project: ProjectHarness) -> None:
    kept = [entry(name=name) for name in ("a", "b")]
    project.write([*kept, entry(name="moved")])
    project.deploy()
    project.write(kept)
    second = project.folder / "second.yaml"
    second.write_text(json.dumps({"name": "second", "deployments": [entry(name="moved")]}))
    both = ("--prefect-file", "prefect.yaml", "--prefect-file", "second.yaml")
    identity = project.live("moved")["id"]
    assert names(project.deploy("--prune", *both)) == []
    assert project.live("moved")["id"] == identity
    assert names(project.deploy("--prune")) == []
    assert project.live("moved")["id"] == identity


def test_two_files_of_one_project_delete_last_and_once(project: ProjectHarness) -> None:
    kept = [entry(name=name) for name in ("a", "b", "c")]
    project.write([*kept, entry(name="old")])
    project.deploy()
    project.write(kept)
    second = project.folder / "second.yaml"
    second.write_text(json.dumps({"name": "project", "deployments": [entry(name="new")]}))
    both = ("--prefect-file", "prefect.yaml", "--prefect-file", "second.yaml")
    output = project.deploy("--prune", *both)
    assert names(output) == [("deployment", "hello/old")]
    assert [each["name"] for each in output["results"]][-1] == "hello/old"
    assert deployed(project) == ["a", "b", "c", "new"]


def test_nothing_is_deleted_if_a_write_before_it_fails(project: ProjectHarness) -> None:
    kept = [entry(name=name) for name in ("a", "b")]
    project.write([*kept, entry(name="old")])
    project.deploy()
    project.write([*kept, entry(name="new")])
    project.proxy.answer(422, times=None, method="POST", path="/deployments/$")
    deploy = ("deploy", "--all", "--prune", "--output", "json")
    result = project.cli(*deploy, cwd=project.folder, api_url=project.proxy.api_url)
    assert result.code == 1
    found = {each["name"]: each["status"] for each in json.loads(result.stdout)["results"]}
    assert (found["hello/new"], found["hello/old"]) == ("failed", "skipped")
    assert "old" in deployed(project)
    project.deploy("--prune")
    assert deployed(project) == ["a", "b", "new"]


def test_a_deployment_belongs_to_one_project_until_it_is_taken_over(
    project: ProjectHarness,
) -> None:
    triggers = {"triggers": [TRIGGER]} if project.major == 3 else {}
    project.write([entry(name="a", description="x", **triggers), entry(name="b")], name="first")
    project.deploy()
    identity = project.live("a")["id"]
    project.write([entry(name="a", tags=["x"])], name="second")
    (error,) = errors(project.deploy(code=1))
    assert (error["code"], error["span"]["line"]) == ("DC519", 1)
    assert "'hello/a' belongs to the project 'first'" in error["message"]
    assert project.proxy.writes == []
    project.deploy("--take-over")
    live = project.live("a")
    assert (live["id"], live["tags"], live["description"]) == (identity, ["x"], None)
    if triggers:
        assert project.api.automations() == []
    project.deploy()
    assert project.proxy.writes == []
    project.write([entry(name="a"), entry(name="b")], name="first")
    (error,) = errors(project.deploy(code=1))
    assert "belongs to the project 'second'" in error["message"]
