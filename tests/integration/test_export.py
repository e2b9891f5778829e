"""`deployctl export` on both servers: a plan of the exported file says "no changes"."""

from __future__ import annotations

from typing import Any

from tests.support.project_harness import TRIGGER, ProjectHarness, entry

SECRET = "opensesame-of-the-export-test"
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "texts": {
        "version": "1.10",
        "description": "Line one: yes\n  indented # no comment\n\nünï 'quoted' \"too\"",
        "tags": ["yes", "0777", "1:30", "a: b", "- c", "#d", "2024-01-01", "ß"],
        "parameters": {"name": "{{ not ours", "times": 3},
    },
    "schedules": {
        "schedules": [
            {"schedule": {"cron": "0 7 * * 1", "timezone": "Asia/Taipei", "day_or": False}},
            {"schedule": {"interval": 3600.0, "anchor_date": "2024-01-31T07:00:00+08:00"}},
            {"schedule": {"rrule": "FREQ=DAILY;BYHOUR=7"}, "active": False},
            {"schedule": {"interval": 0.5 * 86400}},
        ],
        "paused": True,
    },
    "literal": {"parameters": {"name": "{{ greeting }}"}},
    "unchecked": {"enforce_parameter_schema": False, "parameters": {"times": "many"}},
    "pulled": {
        "pull_steps": [
            {
                "prefect.deployments.steps.git_clone": {
                    "repository": "https://example.test/r.git",
                    "branch": "main",
                    "credentials": "{{ prefect.blocks.github-credentials.me }}",
                }
            }
        ]
    },
    "variables": {
        "work_queue_name": "high",
        "job_variables": {
            "env": {"DB_PASSWORD": SECRET, "STAGE": "{{ prefect.variables.stage }}", "N": "1"}
        },
    },
}
ONLY_3: dict[str, dict[str, Any]] = {
    "limited": {
        "concurrency_limit": 2,
        "concurrency_options": {"collision_strategy": "CANCEL_NEW"},
    },
    "slugs": {
        "schedules": [
            {"schedule": {"cron": "5 4 * * *"}, "slug": "one", "parameters": {"times": 2}},
            {"schedule": {"cron": "5 4 * * *"}, "slug": "two", "max_scheduled_runs": 3},
        ]
    },
}


def create_by_hand(project: ProjectHarness) -> None:
    """A deployment of each shape, with the schema that the flow has."""
    triggers = [{"name": "chained", **TRIGGER}] * (project.major == 3)
    project.write([entry(name="first", triggers=triggers)])
    project.deploy()
    base = project.live("first")
    shapes = SHAPES if project.major == 2 else {**SHAPES, **ONLY_3}
    for name, fields in shapes.items():
        given: dict[str, Any] = dict(fields)
        if project.major == 2 and "job_variables" in given:
            given["infra_overrides"] = given.pop("job_variables")
        schedules = [{"active": True, **each} for each in given.pop("schedules", [])]
        body = {
            "name": name,
            "flow_id": base["flow_id"],
            "entrypoint": "flows.py:hello",
            "work_pool_name": "pool",
            "enforce_parameter_schema": True,
            "path": "." if project.major == 2 else None,
            "parameter_openapi_schema": base["parameter_openapi_schema"],
            "schedules": schedules,
            **given,
        }
        project.api.call("POST", "/deployments/", body)


def test_plan_of_an_exported_file_says_no_changes(project: ProjectHarness) -> None:
    create_by_hand(project)
    (project.folder / "prefect.yaml").unlink()
    output = project.run("export", "--all", "-o", "prefect.yaml", "--project", "exported")
    assert output["left_out"] == []
    assert output["variables"] == ["DB_PASSWORD"]
    assert SECRET not in output["text"]
    assert output["text"] == (project.folder / "prefect.yaml").read_text()
    assert [each["code"] for each in output["diagnostics"]] == ["DC551", "DC552"]
    assert project.proxy.writes == []
    plan = project.run(
        "plan", "--all", "--take-over", "--detailed-exitcode", env={"DB_PASSWORD": SECRET}
    )
    assert plan["summary"]["none"] == len(output["deployments"])
    project.deploy("--take-over", env={"DB_PASSWORD": SECRET})
    assert [each for each in project.proxy.writes if "/artifacts" not in each.path] == []
    project.write([entry(name="first")], name="exported")
    undeclared = project.run("plan", "--all")["undeclared"]
    declared = [each for each in undeclared if each["kind"] == "deployment"]
    assert len(declared) == len(output["deployments"]) - 1
    refused = project.run("export", "--all", "-o", "prefect.yaml", code=64)
    assert "exists already" in refused["diagnostics"][0]["message"]
