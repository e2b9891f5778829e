"""`destroy` on both servers: deletes what the project's record holds, and nothing else."""

from __future__ import annotations

from typing import Any

from tests.support.project_harness import TRIGGER, ProjectHarness, entry, errors

POOLS = [{"name": name, "type": "process", "queues": [{"name": "q"}]} for name in ("own", "used")]


def test_deletes_what_the_project_applied_and_its_record(project: ProjectHarness) -> None:
    triggers = {"triggers": [TRIGGER]} if project.major == 3 else {}
    both = {"name": "both", "type": "process"}
    mine = [
        entry(name="a", schedules=[{"cron": "0 1 * * *"}], work_pool={"name": "own"}, **triggers),
        entry(name="b", work_pool={"name": "used", "work_queue_name": "q"}),
    ]
    project.write(mine, work_pools=[*POOLS, both])
    project.deploy()
    project.write([entry(name="theirs", work_pool={"name": "used"})], name="x", work_pools=[both])
    project.deploy()
    project.write_text("name: project\ndeployments: [")
    (broken,) = errors(project.run("destroy", "--yes", code=1))
    assert broken["code"] == "DC103"
    arguments = ("destroy", "--project", "project")
    refused = project.run(*arguments, code=64)
    assert project.proxy.writes == []
    deleted = [
        ("deployment", "hello/a"),
        ("deployment", "hello/b"),
        ("work_queue", "used/q"),
        ("work_pool", "own"),
    ]
    assert [(each["kind"], each["name"]) for each in refused["changes"]] == deleted
    assert "needs a confirmation" in errors(refused)[0]["message"]
    output = project.run(*arguments, "--yes")
    assert [(each["kind"], each["name"]) for each in output["results"]] == deleted
    assert output["kept"] == [
        {"kind": "work_pool", "name": "both", "reason": "the project 'x' declares it"},
        {
            "kind": "work_pool",
            "name": "used",
            "reason": "the deployments theirs are in it",
        },
    ]
    records = ["deployctl-x", "deployctl-x--history"]
    assert left(project) == (["theirs"], ["both", "pool", "used"], records, [])
    if triggers:
        assert project.api.automations() == []
    again = project.run(*arguments, "--yes")
    assert [each["code"] for each in again["diagnostics"]] == ["DC546"]
    assert left(project)[2:] == (records, [])


def left(project: ProjectHarness) -> tuple[list[Any], ...]:
    """Deployments, work pools, records and variables of the server."""
    call = project.api.call
    return (
        sorted(each["name"] for each in call("POST", "/deployments/filter", {})),
        sorted(each["name"] for each in call("POST", "/work_pools/filter", {})),
        sorted({each["key"] for each in call("POST", "/artifacts/filter", {})}),
        [each["name"] for each in call("POST", "/variables/filter", {})],
    )


def test_deletes_an_environment_only(project: ProjectHarness) -> None:
    pull_requests = {"pr-*": {"name_suffix": "-{{ env.name }}", "parameters": {"name": "${NAME}"}}}
    project.write([entry()], environments=pull_requests)
    for name in ("pr-1", "pr-2"):
        project.deploy("--env", name, env={"NAME": "x"})
    output = project.run("destroy", "--env", "pr-1", "--yes")
    assert output["project"] == "project@pr-1"
    assert left(project)[0] == ["daily-pr-2"]
    (unknown,) = errors(project.run("destroy", "--env", "p-2", "--yes", code=1))
    assert unknown["code"] == "DC140"
    project.run("destroy", "--project", "project", "--env", "pr-2", "--yes")
    assert left(project)[0] == []
