"""What an exported file says, and what it says about what it can't say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deployctl.deploy.model import Resource
from deployctl.deploy.resources.deployments import current_deployment
from tests.unit.app.exporting.exported import exported, schema_of_code, with_schema
from tests.unit.deploy.answers import V3, answer, cron, schedule


def deployment(name: str = "daily", flow: str = "hello", **values: Any) -> Resource:
    """A deployment on a server of Prefect 3."""
    automations = values.pop("automations", [])
    given = {"entrypoint": "flows.py:hello", "parameter_openapi_schema": None, **values}
    return current_deployment(flow, answer(name=name, **given), automations, V3)


def text_of(*current: Resource, folder: Path) -> tuple[dict[str, Any], str, list[str]]:
    """The values of the file, its text, and the codes that are reported."""
    file, report = exported(list(current), V3, folder)
    return yaml.safe_load(file.text), file.text, [each.code for each in report]


def test_defaults_are_not_written(tmp_path: Path) -> None:
    data, _, codes = text_of(deployment(version="0123abcd", description="None"), folder=tmp_path)
    entry = {"name": "daily", "entrypoint": "flows.py:hello", "work_pool": {"name": "pool"}}
    assert data == {"name": "exported", "deployments": [{**entry, "pull": []}]}
    assert codes == []


def test_every_field_is_written(tmp_path: Path) -> None:
    given = deployment(
        flow="other name",
        version="2.1",
        description="Does it.",
        tags=["b", "a"],
        parameters={"a": 1},
        enforce_parameter_schema=False,
        paused=True,
        global_concurrency_limit={"limit": 2},
        concurrency_options={"collision_strategy": "ENQUEUE"},
        work_queue_name="high",
        job_variables={"env": {"A": "b"}},
        pull_steps=[{"a.b": {"c": 1}}],
        schedules=[
            cron("s1", "0 7 * * *", slug="x", active=False, parameters={"a": 2}),
            schedule("s2", schedule={"interval": 60.0, "anchor_date": "2020-01-01T00:00:00Z"}),
        ],
    )
    data, _, _ = text_of(given, folder=tmp_path)
    assert data["deployments"] == [
        {
            "name": "daily",
            "entrypoint": "flows.py:hello",
            "flow_name": "other name",
            "description": "Does it.",
            "version": "2.1",
            "tags": ["b", "a"],
            "parameters": {"a": 1},
            "enforce_parameter_schema": False,
            "schedules": [
                {"cron": "0 7 * * *", "active": False, "parameters": {"a": 2}, "slug": "x"},
                {"interval": 60, "anchor_date": "2020-01-01T00:00:00Z"},
            ],
            "paused": True,
            "concurrency_limit": {"limit": 2, "collision_strategy": "ENQUEUE"},
            "work_pool": {
                "name": "pool",
                "work_queue_name": "high",
                "job_variables": {"env": {"A": "b"}},
            },
            "pull": [{"a.b": {"c": 1}}],
        }
    ]


def test_equal_pull_steps_are_written_once(tmp_path: Path) -> None:
    steps = [{"prefect.deployments.steps.git_clone": {"repository": "r"}}]
    both = [deployment(name, pull_steps=steps) for name in ("a", "b")]
    data, _, _ = text_of(*both, folder=tmp_path)
    assert data["pull"] == steps
    assert all("pull" not in each for each in data["deployments"])
    data, _, _ = text_of(*both, deployment("c"), folder=tmp_path)
    assert [each["pull"] for each in data["deployments"]] == [steps, steps, []]


def test_no_secret_is_written(tmp_path: Path) -> None:
    token = "ghp_0123456789abcdef"
    given = deployment(
        description=f"uses {'https://me:hunter22@example.test'}",
        parameters={"api_key": "hunter22", "tokenizer": {"name": "hunter33"}},
        job_variables={
            "env": {"DB_PASSWORD": "hunter22", "TOKENIZERS_PARALLELISM": "true", "X": token},
            "secretKeyRef": {"name": "db", "key": "password"},
        },
        pull_steps=[{"a.b": {"access_token": "{{ prefect.blocks.secret.x }}"}}],
    )
    other = deployment("other", job_variables={"env": {"DB_PASSWORD": "hunter44"}})
    schema: dict[str, Any] = {"properties": {"api_key": {}, "tokenizer": {}}}
    file, report = exported([with_schema(given, schema), other], V3, tmp_path)
    for secret in ("hunter", token):
        assert secret not in file.text
        assert all(secret not in f"{each.message}{each.help}" for each in report)
    data = yaml.safe_load(file.text)
    assert data["deployments"][0]["work_pool"]["job_variables"] == {
        "env": {
            "DB_PASSWORD": "{{ $DB_PASSWORD }}",
            "TOKENIZERS_PARALLELISM": "true",
            "X": "{{ $X }}",
        },
        "secretKeyRef": {"name": "db", "key": "password"},
    }
    assert data["deployments"][1]["work_pool"]["job_variables"]["env"] == {
        "DB_PASSWORD": "{{ $DB_PASSWORD_2 }}"
    }
    assert file.variables == (
        "API_KEY",
        "DB_PASSWORD",
        "DB_PASSWORD_2",
        "DESCRIPTION",
        "TOKENIZER_NAME",
        "X",
    )
    assert "# - DB_PASSWORD_2" in file.text
    assert [each.code for each in report] == ["DC552"]


def test_number_that_is_a_password_leaves_its_field_out(tmp_path: Path) -> None:
    schema: dict[str, Any] = {"properties": {"password": {}, "max_tokens": {}}}
    given = [
        with_schema(deployment("a", parameters={"password": 12345678}), schema),
        with_schema(deployment("b", parameters={"max_tokens": 4096}), schema),
    ]
    file, _ = exported(given, V3, tmp_path)
    assert "12345678" not in file.text
    assert file.variables == ()
    first, second = yaml.safe_load(file.text)["deployments"]
    assert "parameters" not in first
    assert second["parameters"] == {"max_tokens": 4096}


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"parameters": {"name": "{{ greeting }}"}}, "parameters"),
        ({"parameters": {"name": "{{ prefect.variables.x }}"}}, "parameters"),
        ({"tags": ["{{ $HOME }}"]}, "tags"),
        ({"global_concurrency_limit": {"limit": 0}}, "concurrency_limit"),
    ],
)
def test_what_cannot_be_said_is_left_out_with_a_comment(
    values: dict[str, Any], key: str, tmp_path: Path
) -> None:
    data, text, codes = text_of(deployment(**values), folder=tmp_path)
    assert key not in data["deployments"][0]
    assert f"# {key}: not written" in text
    assert codes == ["DC551"]


def test_references_of_a_run_are_kept(tmp_path: Path) -> None:
    variables = {"env": {"A": "{{ prefect.variables.x }}", "B": "{{ prefect.blocks.json.y }}"}}
    data, _, codes = text_of(deployment(job_variables=variables), folder=tmp_path)
    assert data["deployments"][0]["work_pool"]["job_variables"] == variables
    assert codes == []


@pytest.mark.parametrize(
    ("current", "reason"),
    [
        (deployment(work_pool_name=None), "no work pool"),
        (deployment(entrypoint=None), "no entrypoint"),
        (deployment(pull_steps=[{"a.b": {"c": "{{ unknown }}"}}]), "'pull' cannot be written"),
    ],
)
def test_deployment_without_an_entry_is_named_at_the_end(
    current: Resource, reason: str, tmp_path: Path
) -> None:
    data, text, codes = text_of(current, deployment("kept"), folder=tmp_path)
    assert [each["name"] for each in data["deployments"]] == ["kept"]
    assert f"# - hello/daily: {reason}" in text or reason in text.partition("Not exported:")[2]
    assert codes == ["DC550"]


def test_code_says_what_needs_no_key(tmp_path: Path) -> None:
    schema = schema_of_code(tmp_path)
    same = with_schema(deployment(description="Greets."), schema)
    data, text, codes = text_of(same, folder=tmp_path)
    assert "description" not in data["deployments"][0]
    assert "Code that was not read" not in text
    assert codes == []
    none = with_schema(deployment(), schema)
    assert text_of(none, folder=tmp_path)[0]["deployments"][0]["description"] == ""
    for other in (deployment("a"), deployment("b", flow="renamed")):
        assert text_of(other, folder=tmp_path)[2] == ["DC553"]


def test_says_which_code_is_missing(tmp_path: Path) -> None:
    assert "Code that was not read: flows.py:hello" in text_of(deployment(), folder=tmp_path)[1]


def test_automation_that_is_no_trigger_is_named(tmp_path: Path) -> None:
    action = {"type": "run-deployment", "source": "selected", "deployment_id": "d-1"}
    several = {
        "id": "a-1",
        "name": "several",
        "trigger": {"type": "event", "expect": ["x"]},
        "actions": [action, action],
    }
    _, text, codes = text_of(deployment(automations=[several]), folder=tmp_path)
    assert "# the automation 'several' stays as it is: it has 2 actions" in text
    assert codes == ["DC551"]
