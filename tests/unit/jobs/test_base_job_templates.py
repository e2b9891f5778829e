from __future__ import annotations

from functools import reduce
from operator import getitem
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from deployctl.core.json_values import JsonPath, leaves
from deployctl.jobs.base_job_templates import POOL_TYPES, base_job_template
from deployctl.templating.grammar import placeholders

TEMPLATE: Any = base_job_template("kubernetes")


@pytest.mark.parametrize("pool_type", POOL_TYPES)
def test_placeholders_and_variables_match(pool_type: str) -> None:
    template = base_job_template(pool_type)
    used = {
        placeholder.name
        for _, leaf in leaves(template["job_configuration"])
        if isinstance(leaf, str)
        for placeholder in placeholders(leaf)
    }
    assert used == template["variables"]["properties"].keys()


def test_unsupported_type_has_no_template() -> None:
    assert base_job_template("ecs") is None


def test_has_the_variables_of_both_majors() -> None:
    both = "name env labels command namespace image service_account_name image_pull_policy "
    both += "finished_job_ttl job_watch_timeout_seconds pod_watch_timeout_seconds stream_output "
    three = "cluster_config annotations backoff_limit cpu_request cpu_limit memory_request "
    assert TEMPLATE["variables"]["properties"].keys() == set(
        (both + three + "memory_limit").split()
    )


@pytest.mark.parametrize("pool_type", POOL_TYPES)
def test_defaults_are_valid_and_not_null(pool_type: str) -> None:
    variables = base_job_template(pool_type)["variables"]
    Draft202012Validator.check_schema(variables)
    defaults = {
        name: schema["default"]
        for name, schema in variables["properties"].items()
        if "default" in schema
    }
    assert None not in defaults.values()
    Draft202012Validator(variables).validate(defaults)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("apiVersion",), "batch/v1"),
        (("kind",), "Job"),
        (("spec", "parallelism"), 1),
        (("spec", "completions"), 1),
        (("spec", "template", "spec", "parallelism"), 1),
        (("spec", "template", "spec", "completions"), 1),
        (("spec", "template", "spec", "restartPolicy"), "Never"),
        (("spec", "template", "spec", "containers", 0, "name"), "prefect-job"),
    ],
)
def test_manifest_has_required_fields(path: JsonPath, value: object) -> None:
    assert reduce(getitem, path, TEMPLATE["job_configuration"]["job_manifest"]) == value


def test_each_call_returns_a_new_copy() -> None:
    base_job_template("kubernetes")["variables"]["properties"]["env"]["default"]["A"] = "1"
    assert base_job_template("kubernetes") == TEMPLATE
