"""Revisions and rollbacks on both servers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.project_harness import TRIGGER, ProjectHarness, entry, errors

POOL = {"name": "own", "type": "docker", "concurrency_limit": 3, "queues": [{"name": "q"}]}
RICH = entry(
    description="first",
    tags=["a"],
    parameters={"times": 3},
    schedules=[{"cron": "0 1 * * *", "slug": "nightly"}, {"interval": 3600}],
    concurrency_limit=2,
    work_pool={"name": "own", "work_queue_name": "q", "job_variables": {"image": "etl:1"}},
)
CASES: dict[str, tuple[Any, Any]] = {
    "fields": (
        [RICH],
        [{**RICH, "description": "second", "tags": [], "parameters": {}, "schedules": []}],
    ),
    "create": ([RICH], [RICH, entry(name="more"), entry(name="most")]),
    "delete": ([RICH, entry(name="more", paused=True)], [entry(name="other")]),
    "image": (
        [RICH],
        [{**RICH, "work_pool": {"name": "own", "job_variables": {"image": "etl:2", "env": {}}}}],
    ),
}


def revisions(project: ProjectHarness) -> list[Any]:
    found: list[Any] = project.run("history")["revisions"]
    return found


@pytest.mark.parametrize("case", CASES)
def test_rollback_brings_the_earlier_state_back(project: ProjectHarness, case: str) -> None:
    before, after = CASES[case]
    triggers = {"triggers": [TRIGGER]} if project.major == 3 else {}
    before = [{**before[0], **triggers}, *before[1:]]
    project.write(before, work_pools=[POOL])
    project.deploy()
    project.write(after, work_pools=[{**POOL, "concurrency_limit": 7}])
    project.deploy("--prune", "--yes")
    project.run("plan", "--all", "--prune", "--detailed-exitcode")
    output = project.run("rollback", "--yes")
    assert output["diagnostics"] == []
    project.write(before, work_pools=[POOL])
    plan = project.run("plan", "--all", "--prune", "--detailed-exitcode")
    assert plan["undeclared"] == []
    assert [each["command"] for each in revisions(project)] == ["rollback", "deploy", "deploy"]
    project.run("rollback", "--yes")
    project.write(after, work_pools=[{**POOL, "concurrency_limit": 7}])
    assert project.run("plan", "--all", "--prune", "--detailed-exitcode")["undeclared"] == []


def test_history_names_who_changed_what(project: ProjectHarness) -> None:
    env = {"GITHUB_ACTOR": "ann"}
    for number in (1, 2, 2, 3):
        project.write([entry(description=str(number)), entry(name="same")])
        project.deploy(env=env)
    newest, second, first = revisions(project)
    assert [each["author"] for each in (newest, second, first)] == ["ann"] * 3
    assert [(c["op"], c["name"]) for c in first["changes"]] == [
        ("create", "hello/daily"),
        ("create", "hello/same"),
    ]
    (changed,) = second["changes"]
    assert changed["fields"] == [{"field": "description", "old": "1", "new": "2"}]
    assert len(project.run("history", "hello/same")["revisions"]) == 1
    shown = project.run("history", "--revision", newest["id"][:8])["revisions"]
    assert [each["id"] for each in shown] == [newest["id"]]
    project.run("rollback", second["id"], "--yes")
    assert project.live()["description"] == "2"
    project.run("rollback", first["id"][:8], "--yes")
    assert project.live()["description"] == "1"
    (unknown,) = errors(project.run("rollback", "nothing", "--yes", code=1))
    assert unknown["code"] == "DC563"
    (no_terminal,) = errors(project.run("rollback", code=64))
    assert "needs a confirmation" in no_terminal["message"]


def test_revisions_hold_no_secret_and_rollback_keeps_it(project: ProjectHarness) -> None:
    def deploy(secret: str, plain: str) -> None:
        variables = {"env": {"API_KEY": secret, "PLAIN": plain}}
        work_pool = {"name": "pool", "job_variables": variables}
        project.write([entry(work_pool=work_pool)])
        project.deploy()

    deploy("s3cr3t-one", "1")
    deploy("s3cr3t-two", "2")
    found = project.api.call("POST", "/artifacts/filter", {})
    assert len(found) >= 3
    assert "s3cr3t" not in str(found)
    output = project.run("rollback", "--yes")
    assert [each["code"] for each in output["diagnostics"]] == ["DC564"]
    live = project.live()
    variables = live.get("job_variables") or live["infra_overrides"]
    assert variables["env"] == {"API_KEY": "s3cr3t-two", "PLAIN": "1"}
