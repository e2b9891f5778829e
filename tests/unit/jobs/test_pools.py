from __future__ import annotations

from functools import reduce
from operator import getitem
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from deployctl.core.values import Path, leaves
from deployctl.jobs.pools import kubernetes_template
from deployctl.templating.grammar import placeholders

TEMPLATE: Any = kubernetes_template()


def test_every_variable_is_used_and_every_placeholder_is_a_variable() -> None:
    used = {
        placeholder.name
        for _, leaf in leaves(TEMPLATE["job_configuration"])
        if isinstance(leaf, str)
        for placeholder in placeholders(leaf)
    }
    assert used == TEMPLATE["variables"]["properties"].keys()


def test_the_variables_of_both_majors_are_there() -> None:
    both = "name env labels command namespace image service_account_name image_pull_policy "
    both += "finished_job_ttl job_watch_timeout_seconds pod_watch_timeout_seconds stream_output "
    three = "cluster_config annotations backoff_limit cpu_request cpu_limit memory_request "
    assert TEMPLATE["variables"]["properties"].keys() == set(
        (both + three + "memory_limit").split()
    )


def test_no_default_is_null_and_all_of_them_fit_the_schema() -> None:
    Draft202012Validator.check_schema(TEMPLATE["variables"])
    defaults = {
        name: schema["default"]
        for name, schema in TEMPLATE["variables"]["properties"].items()
        if "default" in schema
    }
    assert None not in defaults.values()
    Draft202012Validator(TEMPLATE["variables"]).validate(defaults)


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
def test_the_manifest_has_what_kubernetes_and_prefects_workers_demand(
    path: Path, value: object
) -> None:
    assert reduce(getitem, path, TEMPLATE["job_configuration"]["job_manifest"]) == value


def test_each_call_gives_a_copy_of_its_own() -> None:
    kubernetes_template()["variables"]["properties"]["env"]["default"]["A"] = "1"
    assert kubernetes_template() == TEMPLATE
