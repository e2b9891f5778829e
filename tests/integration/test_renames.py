"""`renamed_from` on both servers: a deployment that moves keeps what was set in the UI."""

from __future__ import annotations

from typing import Any

from tests.support.project_harness import TRIGGER, ProjectHarness, entry, errors


def deployed(project: ProjectHarness) -> list[str]:
    """The names of all deployments of the server."""
    found = project.api.call("POST", "/deployments/filter", {})
    return sorted(each["name"] for each in found)


def notes(plan: Any) -> dict[str, str]:
    """The first note of each change, by name of the deployment."""
    return {each["name"]: each["notes"][0] for each in plan["changes"] if each["notes"]}


def test_renamed_deployment_keeps_what_was_set_in_the_ui(project: ProjectHarness) -> None:
    triggers = {"triggers": [TRIGGER]} if project.major == 3 else {}
    cron = {"cron": "0 1 * * *"}
    old = entry(name="old", schedules=[cron], description="declared", **triggers)
    plain = entry(name="plain", tags=["declared"])
    project.write([old, plain])
    project.deploy()
    project.api.update("hello", "old", tags=["ui"], paused=True)
    project.api.update("hello", "plain", work_queue_name="default", parameters={"name": "ui"})
    project.api.call("POST", f"/deployments/{project.live('old')['id']}/create_flow_run", {})
    schedule = project.live("old")["schedules"][0]["id"]
    path = f"/deployments/{project.live('old')['id']}/schedules/{schedule}"
    project.api.call("PATCH", path, {"active": False})
    project.api.call(
        "POST",
        f"/deployments/{project.live('plain')['id']}/schedules",
        [{"schedule": {"cron": "0 2 * * *"}, "active": True}],
    )
    new = entry(name="new", renamed_from="old", schedules=[cron], **triggers)
    other = entry(name="other", renamed_from="hello/plain")
    project.write([new, other])
    plan = project.run("plan", "--all")
    by_name = {each["name"]: each for each in plan["changes"]}
    assert by_name["hello/new"]["renamed_from"] == "hello/old"
    assert by_name["hello/old"]["renamed_to"] == "hello/new"
    assert by_name["hello/new"]["notes"][1].startswith("it keeps what the file does not declare: ")
    assert "scheduled run" in " ".join(by_name["hello/old"]["notes"])
    assert plan["summary"]["undeclared"] == 0
    project.deploy("--prune")
    assert deployed(project) == ["new", "other"]
    live, other_live = project.live("new"), project.live("other")
    assert (live["tags"], live["description"], live["paused"]) == (["ui"], None, True)
    assert [each["active"] for each in live["schedules"]] == [False]
    assert (other_live["tags"], other_live["parameters"]) == ([], {"name": "ui"})
    assert [each["schedule"]["cron"] for each in other_live["schedules"]] == ["0 2 * * *"]
    if triggers:
        assert len(project.api.automations()) == 1
    assert project.run("plan", "--all", "--prune")["diagnostics"] == []
    assert {each["op"] for each in project.deploy()["changes"]} == {"none"}
    assert project.proxy.writes == []
    project.write([entry(name="old")])
    project.deploy()
    project.write([new, other])
    (again,) = errors(project.deploy(code=1))
    assert again["code"] == "DC547"
    assert deployed(project) == ["new", "old", "other"]
    project.api.update("hello", "new", tags=["later"])
    project.write([entry(name="new", schedules=[cron], **triggers), entry(name="other")])
    assert {each["op"] for each in project.deploy()["changes"]} == {"none"}
    assert project.live("new")["tags"] == ["later"]


def test_rename_of_one_selected_deployment_is_completed_after_a_stop(
    project: ProjectHarness,
) -> None:
    project.write([entry(name="a"), entry(name="b")])
    project.deploy()
    project.write([entry(name="new", renamed_from="a"), entry(name="b")])
    project.proxy.answer(500, times=None, method="DELETE", path="/deployments/")
    deploy = ("deploy", "-n", "new", "--output", "json")
    environ = {"PREFECT_CLIENT_MAX_RETRIES": "0"}
    stopped = project.cli(*deploy, cwd=project.folder, api_url=project.proxy.api_url, **environ)
    assert stopped.code == 1
    assert deployed(project) == ["a", "b", "new"]
    plan = project.run("plan", "-n", "new")
    assert notes(plan)["hello/a"] == "renamed to 'hello/new'"
    project.run("deploy", "-n", "new")
    assert deployed(project) == ["b", "new"]


def test_what_cannot_be_renamed_and_what_looks_like_a_rename(project: ProjectHarness) -> None:
    project.write([entry(name="theirs")], name="other")
    project.deploy()
    project.write([entry(name=name) for name in ("a", "b", "c")])
    project.deploy()
    flow = project.live("a")["flow_id"]
    project.api.call("POST", "/deployments/", {"name": "ui", "flow_id": flow})
    project.write(
        [
            entry(name="a", renamed_from="b"),
            entry(name="x", renamed_from="theirs"),
            entry(name="y", renamed_from="ui"),
            entry(name="z", renamed_from="never-there"),
        ]
    )
    found = {each["message"]: each["code"] for each in errors(project.deploy(code=1))}
    assert found == {
        "'hello/a' cannot be renamed from 'hello/b': both exist on the server": "DC547",
        "'hello/x' cannot be renamed from 'hello/theirs': that one belongs to the project "
        "'other'": "DC547",
        "'hello/y' cannot be renamed from 'hello/ui': this project did not deploy that one": (
            "DC547"
        ),
    }
    assert project.proxy.writes == []
    project.write([entry(name=name) for name in ("a", "b", "new")])
    (hint,) = project.run("plan", "--all", "--prune")["diagnostics"]
    assert (hint["code"], "`renamed_from: c`" in hint["help"]) == ("DC548", True)
