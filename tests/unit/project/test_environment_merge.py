"""How an environment is merged into deployments whose values are templates or have two forms."""

from __future__ import annotations

import pytest

from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json
from deployctl.project.document import parse_document
from deployctl.project.environments import with_environment
from tests.unit.project.reading import document

TEMPLATES = """\
deployments:
  - name: daily
    work_pool: "{{ env.pool }}"
    parameters: "{{ env.params }}"
    tags: "{{ env.tags }}"
environments:
  prod:
    job_variables: {cpu: 2}
    parameters: {rows: 5}
    tags: [prod]
    values: {pool: POOL, params: {bucket: q}, tags: [etl]}
"""


def deployments(text: str, beside: str | None = None) -> dict[str, Json]:
    """The deployments of a file in its environment `prod`, by name."""
    report = Report()
    side = parse_document(beside, "prefect.prod.yaml", report) if beside else None
    found = with_environment(document(text), "prod", side, {}, report)
    assert found is not None, report.items
    assert not report.items
    return {entry["name"]: entry for entry in found.data["deployments"]}


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("k8s", {"name": "k8s", "job_variables": {"cpu": 2}}),
        ("2024", {"name": 2024, "job_variables": {"cpu": 2}}),
        (
            "{name: k8s, job_variables: {image: x}}",
            {"name": "k8s", "job_variables": {"image": "x", "cpu": 2}},
        ),
    ],
)
def test_values_are_filled_in_before_an_entry_is_merged(pool: str, expected: Json) -> None:
    found = deployments(TEMPLATES.replace("POOL", pool))["daily"]
    assert found["work_pool"] == expected
    assert found["parameters"] == {"bucket": "q", "rows": 5}
    assert found["tags"] == ["etl", "prod"]


def test_overrides_match_the_name_before_values_are_filled_in() -> None:
    text = """\
deployments:
  - name: "daily-{{ env.name }}"
environments:
  prod: {deployments: {"daily-{{ env.name }}": {version: "2"}, "*}}": {paused: true}}}
"""
    found = deployments(text)["daily-prod"]
    assert found == {"name": "daily-prod", "version": "2", "paused": True}


def test_list_of_deployments_that_is_a_value_is_changed_too() -> None:
    text = """\
deployments: "{{ env.all }}"
environments:
  prod: {paused: true, values: {all: [{name: daily}]}}
"""
    assert deployments(text) == {"daily": {"name": "daily", "paused": True}}


@pytest.mark.parametrize("pool", ["{{ prefect.variables.p }}", "{{ $POOL }}"])
@pytest.mark.parametrize("change", ["job_variables: {cpu: 2}", "work_pool: {work_queue_name: q}"])
def test_template_of_a_work_pool_is_its_name_where_the_pool_is_changed(
    pool: str, change: str
) -> None:
    text = f'deployments: [{{name: daily, work_pool: "{pool}"}}]\n'
    changed = deployments(f"{text}environments: {{prod: {{{change}}}}}\n")["daily"]
    assert changed["work_pool"]["name"] == pool
    assert len(changed["work_pool"]) == 2
    kept = deployments(f"{text}environments: {{prod: {{paused: true}}}}\n")["daily"]
    assert kept["work_pool"] == pool


BASE = 'deployments: [{name: daily, schedule: {cron: "0 1 * * *"}, work_pool: dev, version: "1"}]\n'
BESIDE: dict[str, tuple[str, str, Json]] = {
    "a pool by name, then its job variables": (
        "{work_pool: k8s}",
        "work_pool: {job_variables: {cpu: 2}}",
        {"work_pool": {"name": "k8s", "job_variables": {"cpu": 2}}},
    ),
    "a pool, then another by name": (
        "{work_pool: {name: k8s, job_variables: {cpu: 2}}}",
        "work_pool: ecs",
        {"work_pool": {"name": "ecs", "job_variables": {"cpu": 2}}},
    ),
    "a deployment's pool": (
        "{deployments: {daily: {work_pool: k8s}}}",
        "deployments: {daily: {work_pool: {job_variables: {cpu: 2}}}}",
        {"work_pool": {"name": "k8s", "job_variables": {"cpu": 2}}},
    ),
    "a deployment's schedules, then one schedule": (
        '{deployments: {daily: {schedules: [{cron: "0 2 * * *"}]}}}',
        'deployments: {daily: {schedule: {cron: "0 3 * * *"}}}',
        {"schedule": {"cron": "0 3 * * *"}, "schedules": "absent"},
    ),
    "a deployment that has no keys": (
        "{deployments: {daily: }}",
        "deployments: {daily: {version: '2'}}",
        {"version": "2"},
    ),
    "a deployment that loses its keys": (
        "{deployments: {daily: {version: '2'}, 'd*': {paused: true}}}",
        "deployments: {daily: }",
        {"version": "1", "paused": True},
    ),
    "patterns stay in the order of the section": (
        "{deployments: {'*': {version: a}, daily: {version: b}}}",
        "deployments: {'*': {version: c}}",
        {"version": "b"},
    ),
    "a section without keys": ("", "work_pool: k8s", {"work_pool": {"name": "k8s"}}),
}


@pytest.mark.parametrize(("own", "beside", "expected"), BESIDE.values(), ids=BESIDE)
def test_file_beside_is_merged_key_by_key_as_into_a_deployment(
    own: str, beside: str, expected: dict[str, Json]
) -> None:
    found = deployments(f"{BASE}environments: {{prod: {own}}}\n", f"{beside}\n")["daily"]
    assert {key: found.get(key, "absent") for key in expected} == expected
