"""Placeholders in the names of deployments, pools, queues and automations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.project_harness import TRIGGER, ProjectHarness, entry, errors

VARIABLES = {"pool_name": "resolved-pool", "dep_name": "nightly", "file": "flows.py", "number": 7}
VERSION = {"id": "git", "script": "echo v2"}
BUILD = [{"prefect.deployments.steps.run_shell_script": VERSION}]
POOL = {"name": "{{ prefect.variables.pool_name }}"}


@pytest.fixture
def names(project: ProjectHarness) -> Iterator[ProjectHarness]:
    """The server has the variables and the pool `resolved-pool`."""
    for name, value in VARIABLES.items():
        project.api.call("POST", "/variables/", {"name": name, "value": value})
    project.api.pool("resolved-pool", "process")
    yield project
    for name in VARIABLES:
        project.api.call("DELETE", f"/variables/name/{name}")


def all_names(project: ProjectHarness) -> str:
    """Every name of a deployment, pool or queue on the server, in one text."""
    pools = project.api.call("POST", "/work_pools/filter", {})
    queues = project.api.call("POST", "/work_queues/filter", {})
    deployments = project.api.call("POST", "/deployments/filter", {})
    return str([each["name"] for each in [*pools, *queues, *deployments]])


def test_variables_are_resolved_before_anything_is_looked_up(names: ProjectHarness) -> None:
    names.write(
        [
            entry(work_pool={**POOL, "work_queue_name": "q-{{ prefect.variables.number }}"}),
            entry(
                name="{{ prefect.variables.dep_name }}",
                entrypoint="{{ prefect.variables.file }}:hello",
                work_pool={"name": "pool"},
                triggers=[{**TRIGGER, "name": "after {{ prefect.variables.dep_name }}"}],
            ),
            entry(name="{{ prefect.variables.number }}"),
        ]
    )
    names.deploy("--create-pools")
    assert names.live()["work_pool_name"] == "resolved-pool"
    assert names.live()["work_queue_name"] == "q-7"
    assert names.live("nightly")["entrypoint"] == "flows.py:hello"
    assert names.live("7")["name"] == "7"
    assert "{{" not in all_names(names)
    assert names.ops() == {}
    assert "{{" not in str([each.path for each in names.proxy.exchanges])


def test_a_selection_means_resolved_names(names: ProjectHarness) -> None:
    names.write([entry(name="{{ prefect.variables.dep_name }}"), entry(name="other")])
    output = names.run("plan", "-n", "nightly")
    assert [change["name"] for change in output["changes"]] == ["hello/nightly"]


def test_a_missing_variable_is_an_error_at_the_name(project: ProjectHarness) -> None:
    project.write([entry(work_pool={"name": "{{ prefect.variables.gone }}"})])
    output = project.deploy("--create-pools", code=1)
    assert [each["code"] for each in errors(output)] == ["DC304"]
    assert project.proxy.writes == []


def test_validate_notes_what_only_a_server_knows(project: ProjectHarness) -> None:
    project.write([entry(name="{{ prefect.variables.x }}", work_pool=POOL)])
    found = project.run("validate", "--strict")["diagnostics"]
    assert [(each["code"], each["severity"]) for each in found] == [("DC133", "note")] * 2


def test_outputs_of_steps_name_a_deployment_after_the_build(names: ProjectHarness) -> None:
    deployments = [
        entry(name="etl-{{ git.stdout }}", work_pool={"name": "{{ git.stdout }}-pool"}),
        entry(triggers=[{"expect": ["x"], "name": "after {{ git.stdout }}"}]),
    ]
    names.api.pool("v2-pool", "process")
    names.write(deployments, build=BUILD)
    planned = names.run("plan", "--all", "--detailed-exitcode", code=2)
    assert "hello/etl-{{ git.stdout }}" in [change["name"] for change in planned["changes"]]
    for _ in range(2):
        output = names.deploy()
        assert "{{" not in str(output["changes"])
    assert names.live("etl-v2")["work_pool_name"] == "v2-pool"
    assert "{{" not in all_names(names)
    assert {change["op"] for change in output["changes"]} <= {"none"}


def test_outputs_of_steps_need_the_steps(names: ProjectHarness) -> None:
    names.write([entry(name="etl-{{ git.stdout }}")], build=BUILD)
    output = names.deploy("--skip-build", code=1)
    assert [each["code"] for each in errors(output)] == ["DC303"]
    names.write([entry(entrypoint="{{ git.stdout }}.py:hello")], build=BUILD)
    assert [each["code"] for each in errors(names.deploy(code=1))] == ["DC133"]


@pytest.mark.parametrize("name", ["{{ a | b }}", "{{ ctx.flow.name }}", "x {{"])
def test_what_is_no_name_is_refused(project: ProjectHarness, name: str) -> None:
    for each in (entry(name=name), entry(work_pool={"name": name})):
        project.write([each])
        output = project.deploy("--create-pools", code=1)
        assert {found["code"] for found in errors(output)} == {"DC133"}
        assert project.proxy.writes == []


def test_the_pool_of_the_command_line_is_resolved(names: ProjectHarness) -> None:
    names.write([entry()])
    names.deploy("--pool", "{{ prefect.variables.pool_name }}")
    assert names.live()["work_pool_name"] == "resolved-pool"
