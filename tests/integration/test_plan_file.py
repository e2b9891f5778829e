"""`plan --out` and `deploy --plan` on both servers."""

from __future__ import annotations

from tests.support.project_harness import ProjectHarness, entry, errors


def test_deploys_the_approved_plan_and_no_other(project: ProjectHarness) -> None:
    project.write([entry(), entry(name="hourly")])
    planned = project.run("plan", "--all", "--out", "plan.json")
    assert planned["summary"]["create"] == 2
    project.write([entry(description="later"), entry(name="hourly")])
    (stale,) = errors(project.deploy("--plan", "plan.json", code=1))
    assert (stale["code"], project.proxy.writes) == ("DC560", [])
    assert "deployment hello/daily (create differs)" in stale["message"]
    project.write([entry(), entry(name="hourly")])
    project.deploy("--plan", "plan.json")
    assert project.live()["description"] != "later"

    project.write([entry(tags=["b"]), entry(name="hourly")])
    project.run("plan", "--all", "--out", "plan.json")
    project.api.update("hello", "hourly", tags=["by hand"])
    project.deploy("--plan", "plan.json")
    assert (project.live()["tags"], project.live("hourly")["tags"]) == (["b"], ["by hand"])

    project.write([entry(tags=["c"]), entry(name="hourly")])
    project.run("plan", "--all", "--out", "plan.json")
    project.api.update("hello", "daily", tags=["by hand"])
    (stale,) = errors(project.deploy("--plan", "plan.json", code=1))
    assert "deployment hello/daily (update differs)" in stale["message"]
    assert project.live()["tags"] == ["by hand"]
