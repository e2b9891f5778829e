from __future__ import annotations

from typing import Any

import pytest

from deployctl.core.diagnostics import Severity
from deployctl.core.json_values import JsonPath
from deployctl.jobs.base_job_templates import base_job_template
from deployctl.jobs.variables import PoolVariables, variables_schema
from deployctl.templating.values import Unknown

KUBERNETES = PoolVariables(base_job_template("kubernetes"))
REFERENCE = "{{ prefect.variables.x }}"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"image": "app:1", "finished_job_ttl": 300, "stream_output": False},
        {"image": None, "env": None, "finished_job_ttl": None},
        {"image": REFERENCE, "env": {"A": REFERENCE, "B": None}},
        {"env.A": "x"},
        {"cluster_config": {"$ref": {"block_document_id": "an-id"}}},
        {"cluster_config": {"config": {}, "context_name": "c"}},
        {"cluster_config": None},
        {"backoff_limit": 1.0},
        {"image": Unknown("build", "image"), "finished_job_ttl": Unknown("s", "stdout")},
        {"env.A": Unknown("s", "x"), "cluster_config.config": Unknown("s", "y")},
        {"env": Unknown("s", "env"), "labels": {"a": Unknown("s", "b")}},
    ],
)
def test_accepted_values_are_not_reported(given: Any) -> None:
    assert KUBERNETES.check(given) == []


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        ({"image": 5}, ("image",), "'image' must be text or null, not this number"),
        ({"env": {"PORT": 8080}}, ("env", "PORT"), "'env.PORT' must be text"),
        ({"env.PORT": 8080}, ("env.PORT",), "must be text"),
        ({"env": REFERENCE}, ("env",), "must be a mapping"),
        ({"labels": ["a"]}, ("labels",), "must be a mapping or null, not this list"),
        ({"finished_job_ttl": "300"}, ("finished_job_ttl",), "a whole number"),
        ({"finished_job_ttl": REFERENCE}, ("finished_job_ttl",), "a whole number"),
        ({"stream_output": "yes"}, ("stream_output",), "true or false"),
        ({"image_pull_policy": "Allways"}, ("image_pull_policy",), "one of 'IfNotPresent'"),
        ({"backoff_limit": -1}, ("backoff_limit",), "at least 0"),
        ({"cluster_config": {"config": 5}}, ("cluster_config", "config"), "a mapping"),
        ({"cluster_config": REFERENCE}, ("cluster_config",), "a mapping or null"),
    ],
)
def test_refused_values_are_errors_with_path(given: Any, path: JsonPath, message: str) -> None:
    (problem,) = KUBERNETES.check(given)
    assert (problem.code, problem.path, problem.severity) == ("DC530", path, Severity.ERROR)
    assert message in problem.message


def test_messages_contain_no_values() -> None:
    (problem,) = KUBERNETES.check({"image_pull_policy": "hunter2"})
    assert "hunter2" not in problem.message


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (("image",), True),
        (("env", "A"), True),
        (("env.A",), True),
        (("env",), False),
        (("labels", "a"), True),
        (("image_pull_policy",), False),
        (("finished_job_ttl",), False),
        (("stream_output",), False),
        (("cluster_config",), False),
        (("cluster_config", "context_name"), True),
        (("cluster_config", "config"), False),
        (("not_in_the_schema",), True),
        (("not_in_the_schema", 0, "x"), True),
    ],
)
def test_allows_string(path: JsonPath, allowed: bool) -> None:
    assert KUBERNETES.allows_string(path) is allowed


@pytest.mark.parametrize("template", [None, {}, {"variables": {}}])
def test_pool_without_schema_accepts_everything(template: Any) -> None:
    pool = PoolVariables(template)
    assert variables_schema(template) == {}
    assert pool.check({"anything": 5}) == []
    assert pool.allows_string(("anything",))


def test_unknown_name_is_a_warning_with_a_suggestion() -> None:
    (problem,) = KUBERNETES.check({"service_account": "x"})
    assert (problem.code, problem.severity) == ("DC531", Severity.WARNING)
    assert problem.help == "Did you mean 'service_account_name'?"


def test_missing_required_variable_is_a_warning() -> None:
    properties = {"a": {"type": "string"}, "b": {"type": "string", "default": "x"}}
    pool = PoolVariables({"variables": {"properties": properties, "required": ["a", "b"]}})
    (problem,) = pool.check({})
    assert (problem.code, problem.severity) == ("DC532", Severity.WARNING)
    assert "'a'" in problem.message
    assert pool.check({"a": "x"}) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": "str"}}},
        {"properties": {"a": {"$ref": "#/definitions/Nowhere"}}},
        {"properties": {"a": {"$ref": "https://example.invalid/schema.json"}}},
    ],
)
def test_invalid_schema_is_reported_and_nothing_is_fetched(schema: Any) -> None:
    pool = PoolVariables({"variables": schema})
    (problem,) = pool.check({"a": "x"})
    assert problem.code == "DC533"
    assert pool.allows_string(("a",))
