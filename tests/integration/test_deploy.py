"""`deployctl plan` and `deploy` on both servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Cli, FreshServer
from tests.support.api import Api
from tests.support.project_harness import TRIGGER, ProjectHarness, entry, job_variables
from tests.support.proxy import Proxy
from tests.support.servers import PREFECT_2
from tests.support.waiting import until


def test_deploy_creates_deployment(project: ProjectHarness) -> None:
    project.write(
        [
            entry(
                tags=["a", "b"],
                description="Every day.",
                version="7",
                parameters={"times": 3},
                schedules=[{"cron": "0 7 * * *", "timezone": "Asia/Taipei"}],
                work_pool={"name": "pool", "work_queue_name": "fast", "job_variables": {"x": "y"}},
            )
        ]
    )
    output = project.deploy()
    assert [(r["name"], r["status"]) for r in output["results"] if r["kind"] == "deployment"] == [
        ("hello/daily", "applied")
    ]
    live = project.live()
    assert live["tags"] == ["a", "b"]
    assert live["description"] == "Every day."
    assert live["version"] == "7"
    assert live["parameters"] == {"times": 3}
    assert live["entrypoint"] == "flows.py:hello"
    assert (live["work_pool_name"], live["work_queue_name"]) == ("pool", "fast")
    assert job_variables(live) == {"x": "y"}
    assert live["schedules"][0]["schedule"] == {
        "cron": "0 7 * * *",
        "timezone": "Asia/Taipei",
        "day_or": True,
    }
    assert set(live["parameter_openapi_schema"]["properties"]) == {"name", "times"}


@pytest.mark.smoke
def test_unchanged_deploy_writes_nothing_and_keeps_scheduled_runs(
    project: ProjectHarness,
) -> None:
    project.write([entry(schedules=[{"cron": "0 7 * * *"}], tags=["a"])])
    project.deploy()
    runs = until(project.api.scheduled_runs)
    before = project.live()
    output = project.deploy()
    assert project.proxy.writes == []
    assert output["summary"]["none"] == len(output["changes"])
    assert project.live()["schedules"] == before["schedules"]
    assert set(runs) <= set(project.api.scheduled_runs())


def test_100_unchanged_deployments_take_at_most_six_requests(project: ProjectHarness) -> None:
    project.write([entry(name=f"d{n}") for n in range(100)])
    project.deploy()
    project.deploy()
    assert len(project.proxy.exchanges) <= 6
    assert project.proxy.writes == []


CHANGES = [
    pytest.param({"tags": ["b"]}, {"tags": ["a"]}, id="tags"),
    pytest.param({"description": "new"}, {"description": "old"}, id="description"),
    pytest.param({"version": "2"}, {"version": "1"}, id="version"),
    pytest.param({"parameters": {"times": 2}}, {"parameters": {"times": 1}}, id="parameters"),
    pytest.param({"paused": True}, {"paused": False}, id="paused"),
    pytest.param(
        {"enforce_parameter_schema": True}, {"enforce_parameter_schema": False}, id="enforce"
    ),
    pytest.param(
        {"schedules": [{"cron": "0 8 * * *"}]}, {"schedules": [{"cron": "0 7 * * *"}]}, id="cron"
    ),
    pytest.param({"schedules": []}, {"schedules": [{"interval": 3600}]}, id="schedules"),
    pytest.param(
        {"work_pool": {"name": "pool", "work_queue_name": "slow"}},
        {"work_pool": {"name": "pool", "work_queue_name": "fast"}},
        id="queue",
    ),
    pytest.param(
        {"work_pool": {"name": "pool", "job_variables": {"x": "2"}}},
        {"work_pool": {"name": "pool", "job_variables": {"x": "1", "y": "1"}}},
        id="job variables",
    ),
    pytest.param({"entrypoint": "./flows.py:hello"}, {}, id="entrypoint"),
    pytest.param(
        {"pull": []},
        {"pull": [{"prefect.deployments.steps.git_clone": {"repository": "r"}}]},
        id="pull",
    ),
    pytest.param({"concurrency_limit": 2}, {"concurrency_limit": 1}, id="concurrency"),
]

NOT_ON_2 = {"concurrency_limit"}


@pytest.mark.parametrize(("after", "before"), CHANGES)
def test_changed_field_is_updated_once(
    project: ProjectHarness, after: dict[str, Any], before: dict[str, Any]
) -> None:
    if project.major == 2 and NOT_ON_2 & after.keys():
        pytest.skip("2.20 has no such field")
    project.write([entry(**before)])
    project.deploy()
    project.write([entry(**after)])
    assert project.ops() == {"update": 1}
    project.deploy()
    assert project.ops() == {}


@pytest.mark.parametrize(
    ("field", "value", "default"),
    [
        ("tags", ["a"], []),
        ("description", "d", None),
        ("parameters", {"times": 2}, {}),
        ("paused", True, False),
        ("schedules", [{"cron": "0 7 * * *"}], []),
        ("work_pool", {"name": "pool", "work_queue_name": "q"}, None),
        ("work_pool", {"name": "pool", "job_variables": {"x": "y"}}, None),
        ("enforce_parameter_schema", None, None),
        ("concurrency_limit", 3, None),
    ],
)
def test_field_removed_from_file_is_reset(
    project: ProjectHarness, field: str, value: Any, default: Any
) -> None:
    if project.major == 2 and field in NOT_ON_2:
        pytest.skip("2.20 has no such field")
    if field == "enforce_parameter_schema":
        value, default = project.major == 2, project.major == 3
    project.write([entry(**{field: value})])
    project.deploy()
    project.write([entry()])
    assert project.ops() == {"update": 1}
    project.deploy()
    live = project.live()
    live["concurrency_limit"] = live.get("global_concurrency_limit")
    live["work_pool"] = job_variables(live) or {"default": None}[live["work_queue_name"]]
    assert live[field] == default
    assert project.ops() == {}


def test_undeclared_fields_belong_to_the_ui(project: ProjectHarness) -> None:
    project.write([entry()])
    project.deploy()
    project.api.update("hello", "daily", paused=True, tags=["ui"], parameters={"times": 9})
    project.write([entry(description="changed")])
    project.deploy()
    live = project.live()
    assert (live["paused"], live["tags"], live["parameters"]) == (True, ["ui"], {"times": 9})


def test_schedule_deactivated_in_the_ui_stays_inactive(project: ProjectHarness) -> None:
    project.write([entry(schedules=[{"cron": "0 7 * * *"}])])
    project.deploy()
    live = project.live()
    path = f"/deployments/{live['id']}/schedules/{live['schedules'][0]['id']}"
    project.api.call("PATCH", path, {"active": False})
    project.write([entry(schedules=[{"cron": "0 8 * * *"}], description="changed")])
    project.deploy()
    (schedule,) = project.live()["schedules"]
    assert (schedule["active"], schedule["schedule"]["cron"]) == (False, "0 8 * * *")
    assert schedule["id"] == live["schedules"][0]["id"]


def test_plan_writes_nothing_and_has_detailed_exit_code(
    project: ProjectHarness,
) -> None:
    project.write([entry()])
    project.run("plan", "--all", "--detailed-exitcode", code=2)
    assert project.proxy.writes == []
    project.deploy()
    project.run("plan", "--all", "--detailed-exitcode", code=0)


def test_triggers_become_automations_that_are_updated_in_place(project: ProjectHarness) -> None:
    if project.major == 2:
        pytest.skip("2.20 has its automations switched off")
    project.write([entry(triggers=[TRIGGER])])
    project.deploy()
    (made,) = project.api.automations()
    assert made["name"] == "daily__automation_1"
    assert made["actions"][0]["deployment_id"] == project.live()["id"]
    assert project.ops() == {}
    project.api.call("PATCH", f"/automations/{made['id']}", {"enabled": False})
    project.write([entry(triggers=[{**TRIGGER, "threshold": 3}])])
    project.deploy()
    (updated,) = project.api.automations()
    assert updated["id"] == made["id"]
    assert (updated["trigger"]["threshold"], updated["enabled"]) == (3, False)
    assert project.ops() == {}
    project.write([entry()])
    project.deploy()
    assert project.api.automations() == []


def test_triggers_on_a_2_20_server_with_automations_switched_on(
    fresh_server: FreshServer, in_process_cli: Cli, tmp_path: Path
) -> None:
    switched_on = {
        "PREFECT_EXPERIMENTAL_EVENTS": "true",
        "PREFECT_API_SERVICES_TRIGGERS_ENABLED": "true",
    }
    server = fresh_server(PREFECT_2, env=switched_on)
    with Api(server.api_url) as api, Proxy(server.api_url) as proxy:
        api.pool("pool")
        project = ProjectHarness(tmp_path, api, proxy, in_process_cli, 2, server.api_url)
        project.write([entry(triggers=[TRIGGER])])
        output = project.deploy()
        assert output["diagnostics"] == []
        assert [each["name"] for each in api.automations()] == ["daily__automation_1"]
        assert project.ops() == {}


def test_triggers_without_automations_are_left_out_with_a_warning(
    project: ProjectHarness,
) -> None:
    if project.major == 3:
        pytest.skip("3.x has automations")
    project.write([entry(triggers=[TRIGGER], tags=["a"]), entry(name="plain")])
    for _ in range(2):
        said = project.deploy()
        assert [(d["code"], d["severity"]) for d in said["diagnostics"]] == [("DC513", "warning")]
    assert project.proxy.writes == []
    assert project.live()["tags"] == ["a"]


@pytest.mark.parametrize("path", ["/deployments/filter", "/work_pools/filter", "/flows/filter"])
def test_failed_read_is_one_error(project: ProjectHarness, path: str) -> None:
    """Nothing is said about objects that could not be read."""
    project.write([entry(triggers=[TRIGGER]), entry(name="plain")])
    project.proxy.answer(404, path=path, times=9, body={"detail": "Object not found"})
    ended = project.cli(
        "deploy", "--all", "--output", "json", cwd=project.folder, api_url=project.proxy.api_url
    )
    assert ended.code == 1
    (error,) = json.loads(ended.stdout)["diagnostics"]
    assert "not found" in error["message"]
    assert project.proxy.writes == []


def test_unsupported_field_is_left_out_with_a_warning(
    project: ProjectHarness,
) -> None:
    project.write([entry(concurrency_limit=3, schedules=[{"cron": "0 7 * * *", "slug": "s"}])])
    output = project.deploy()
    warnings = [d["message"] for d in output["diagnostics"] if d["severity"] == "warning"]
    assert any("concurrency_limit" in text for text in warnings) is (project.major == 2)
    assert project.ops() == {}


def test_version_from_git_is_sent_only_with_other_changes(
    project: ProjectHarness,
) -> None:
    project.write([entry()])
    sha = {"GITHUB_SHA": "a" * 40, "GITHUB_REF_NAME": "main", "GITHUB_REPOSITORY": "o/r"}
    project.deploy(env=sha)
    assert project.live()["version"] == "aaaaaaaa"
    project.deploy(env={**sha, "GITHUB_SHA": "b" * 40})
    assert project.proxy.writes == []
    project.write([entry(tags=["x"])])
    project.deploy(env={**sha, "GITHUB_SHA": "c" * 40})
    assert project.live()["version"] == "cccccccc"


def test_record_holds_names_of_fields_and_no_values(project: ProjectHarness) -> None:
    project.write([entry(parameters={"name": "s3cr3t"}, description="s3cr3t")])
    project.deploy()
    record = project.api.call("GET", "/artifacts/deployctl-project/latest")
    assert "parameters" in json.dumps(record["data"])
    assert "s3cr3t" not in json.dumps(record)


def test_old_versions_of_the_record_are_removed(project: ProjectHarness) -> None:
    key = "deployctl-project"
    project.write([entry()])
    project.deploy()
    latest = project.api.call("GET", f"/artifacts/{key}/latest")
    for _ in range(30):
        body = {"key": key, "type": latest["type"], "data": latest["data"]}
        project.api.call("POST", "/artifacts/", body)
    project.write([entry(tags=["x"])])
    project.deploy()
    query = {"artifacts": {"key": {"any_": [key]}}, "sort": "CREATED_DESC"}
    versions = project.api.call("POST", "/artifacts/filter", query)
    assert len(versions) == 20
    current = project.api.call("GET", f"/artifacts/{key}/latest")
    assert current["data"] == versions[0]["data"] != latest["data"]
    project.deploy()
    assert project.proxy.writes == []
