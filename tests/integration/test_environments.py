"""Environments on both servers: two of them side by side, each with a record of its own."""

from __future__ import annotations

from tests.integration.test_prune import deployed, names
from tests.support.project_harness import ProjectHarness, entry, errors

ENVIRONMENTS = {
    "dev": {"name_suffix": "-dev", "paused": True},
    "prod": {
        "name_suffix": "-prod",
        "tags": ["prod"],
        "values": {"greeting": "hi"},
        "deployments": {"a": {"parameters": {"name": "{{ env.greeting }}"}}},
    },
}


def test_environments_live_side_by_side_and_prune_only_their_own(project: ProjectHarness) -> None:
    entries = [entry(name=name) for name in ("a", "b", "c")]
    project.write(entries, environments=ENVIRONMENTS)
    project.deploy("--env", "dev")
    output = project.deploy("--env", "prod")
    assert output["environment"] == "prod"
    assert deployed(project) == [f"{name}-{env}" for name in "abc" for env in ("dev", "prod")]
    prod = project.live("a-prod")
    assert (prod["tags"], prod["parameters"]) == (["prod"], {"name": "hi"})
    assert (prod["paused"], project.live("a-dev")["paused"]) == (False, True)
    project.run("plan", "--all", "--detailed-exitcode", env={"DEPLOYCTL_ENV": "dev"})
    change = ("--set", "deployments.a-dev.tags=[x]")
    plan = project.run("plan", "--all", "--env", "dev", *change, "--detailed-exitcode", code=2)
    assert names(plan, "update") == [("deployment", "hello/a-dev")]
    shown = project.run("status", "--env", "dev")["deployments"]
    assert sorted(each["name"] for each in shown) == [f"hello/{name}-dev" for name in "abc"]

    project.write(entries[:2], environments=ENVIRONMENTS)
    assert names(project.deploy("--env", "prod", "--prune")) == [("deployment", "hello/c-prod")]
    assert deployed(project) == ["a-dev", "a-prod", "b-dev", "b-prod", "c-dev"]


def test_environment_takes_nothing_over_and_names_its_server(project: ProjectHarness) -> None:
    project.write([entry()], environments={"prod": {"paused": True}})
    project.deploy()
    (error,) = errors(project.deploy("--env", "prod", code=1))
    assert error["code"] == "DC519"
    assert project.proxy.writes == []
    (unknown,) = errors(project.deploy("--env", "prd", code=1))
    assert unknown["code"] == "DC140"
    (project.folder / "prefect.prod.yaml").write_text('api_url: "${PROD_URL}"\n')
    project.write([entry(name="other")])
    project.deploy("--env", "prod", env={"PROD_URL": project.api_url})
    assert deployed(project) == ["daily", "other"]
    assert project.proxy.writes == []
