from __future__ import annotations

from typing import Any

import pytest

from deployctl.core.json_values import JsonPath
from deployctl.templating.deployment import check_placeholders, deployment_rule
from deployctl.templating.grammar import PlaceholderKind
from deployctl.templating.references import ReferenceValues
from deployctl.templating.render import Scope, render

SCOPE = Scope(
    environ={"ENV": "env"},
    outputs={"image": "app:1"},
    references=ReferenceValues({(PlaceholderKind.VARIABLE, ("v",)): {"value": 5}}),
)
ALL = "{{ $ENV }} {{ image }} {{ prefect.variables.v }} {{ ctx.flow.id }}"


def only_env(path: JsonPath) -> bool:
    return path[0] == "env"


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        ({"tags": [ALL]}, {"tags": ["env app:1 5 {{ ctx.flow.id }}"]}),
        ({"parameters": {"p": ALL}}, {"parameters": {"p": "env app:1 5 {{ ctx.flow.id }}"}}),
        (
            {"pull": [{"f": {"a": ALL, "b": ["{{ clone.directory }}"]}}]},
            {
                "pull": [
                    {
                        "f": {
                            "a": "env app:1 {{ prefect.variables.v }} {{ ctx.flow.id }}",
                            "b": ["{{ clone.directory }}"],
                        }
                    }
                ]
            },
        ),
        (
            {"build": [{"f": {"a": ALL}}]},
            {
                "build": [
                    {"f": {"a": "env {{ image }} {{ prefect.variables.v }} {{ ctx.flow.id }}"}}
                ]
            },
        ),
        (
            {"triggers": [{"enabled": "{{ image }}", "parameters": {"p": ["{{ event.id }}"]}}]},
            {"triggers": [{"enabled": "app:1", "parameters": {"p": ["{{ event.id }}"]}}]},
        ),
        (
            {
                "work_pool": {
                    "name": "{{ prefect.variables.v }}",
                    "job_variables": {
                        "env": {"A": "{{ prefect.variables.v }}", "B": "{{ image }}"},
                        "ttl": "{{ prefect.variables.v }}",
                        "cluster_config": {"$ref": {"block_document_id": "id"}},
                    },
                }
            },
            {
                "work_pool": {
                    "name": 5,
                    "job_variables": {
                        "env": {"A": "{{ prefect.variables.v }}", "B": "app:1"},
                        "ttl": 5,
                        "cluster_config": {"$ref": {"block_document_id": "id"}},
                    },
                }
            },
        ),
    ],
)
def test_renders_each_field_by_its_rule(deployment: Any, expected: Any) -> None:
    assert render(deployment, SCOPE, deployment_rule(only_env)) == (expected, [])


def test_job_variables_keep_references_while_the_pool_is_unknown() -> None:
    deployment = {"work_pool": {"job_variables": {"ttl": "{{ prefect.variables.v }}"}}}
    assert render(deployment, SCOPE, deployment_rule()) == (deployment, [])


def test_pull_steps_get_the_environment_variables_that_are_set() -> None:
    """As in Prefect: `{{ ENV }}` names an output, and what is not set is left for the run."""
    inputs = {"a": "{{ ENV }}", "b": "{{ $ENV }}", "c": "{{ $ENV }}/{{ $UNSET }}"}
    rendered, problems = render({"pull": [{"f": inputs}]}, SCOPE, deployment_rule())
    assert rendered == {"pull": [{"f": {"a": "{{ ENV }}", "b": "env", "c": "env/{{ $UNSET }}"}}]}
    assert problems == []


def test_reports_malformed_placeholders_outside_event_templates() -> None:
    deployment = {
        "tags": ["{{ a | upper }}"],
        "triggers": [{"name": "{{ }}", "parameters": {"p": "{{ event.resource['id'] }}"}}],
    }
    problems = list(check_placeholders(deployment))
    assert [problem.path for problem in problems] == [("tags", 0), ("triggers", 0, "name")]
    assert "'{{ a | upper }}'" in problems[0].message
