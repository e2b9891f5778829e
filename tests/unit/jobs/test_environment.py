from __future__ import annotations

import pytest

from deployctl.api.setting_sources import Source
from deployctl.api.settings import Settings
from deployctl.core.json_values import Json
from deployctl.jobs.environment import (
    flow_run_variables,
    inherited_settings,
    literal_values,
    merge_environments,
    parse_environment,
)
from deployctl.jobs.model import InvalidJobSpec
from tests.unit.jobs.job_sources import job_source


def test_inherits_settings_except_those_of_worker_machine_and_server() -> None:
    passed_on = {
        "PREFECT_API_REQUEST_TIMEOUT": "90",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_CLIENT_CUSTOM_HEADERS": '{"a": "b"}',
    }
    kept = dict.fromkeys(
        [
            "PREFECT_HOME",
            "PREFECT_PROFILE",
            "PREFECT_PROFILES_PATH",
            "PREFECT_WORKER_QUERY_SECONDS",
            "PREFECT_SERVER_EPHEMERAL_ENABLED",
            "PREFECT_INTEGRATIONS_KUBERNETES_CLUSTER_UID",
            "PREFECT_KUBERNETES_CLUSTER_UID",
            "PREFECT_DEPLOYCTL_X",
            "PREFECT__FLOW_RUN_ID",
            "HOME",
        ],
        "x",
    )
    environ = Source("the environment", {**passed_on, **kept, "PREFECT_DEBUG_MODE": ""})
    assert inherited_settings([environ], Settings()) == passed_on


def test_first_source_wins_and_files_are_read() -> None:
    environ = Source("the environment", {"PREFECT_LOGGING_LEVEL": "INFO"})
    tables = {
        "logging": {"level": "DEBUG", "to_api": {"enabled": False}},
        "client": {"custom_headers": {"a": "b"}},
        "worker": {"query_seconds": 5},
    }
    file = Source("'prefect.toml'", tables, tables=True)
    found = inherited_settings([environ, file], Settings())
    assert found == {
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_CLIENT_CUSTOM_HEADERS": '{"a": "b"}',
    }


def test_address_and_credentials_are_the_effective_ones() -> None:
    environ = Source("the environment", {"PREFECT_API_URL": "http://other/api"})
    settings = Settings(api_url="http://flag/api", api_key="k", auth_string="u:p")
    assert inherited_settings([environ], settings) == {
        "PREFECT_API_URL": "http://flag/api",
        "PREFECT_API_KEY": "k",
        "PREFECT_API_AUTH_STRING": "u:p",
    }


def test_variables_that_identify_the_run() -> None:
    run = {"PREFECT__FLOW_RUN_ID": "run-1"}
    assert flow_run_variables(job_source(version="2.20.26")) == run
    assert flow_run_variables(job_source()) == run | {
        "PREFECT__WORKER_NAME": "worker",
        "PREFECT__FLOW_ID": "flow-1",
        "PREFECT__FLOW_NAME": "hello",
        "PREFECT__DEPLOYMENT_ID": "deployment-1",
        "PREFECT__DEPLOYMENT_NAME": "daily",
    }


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (None, {}),
        ({"A": 1, "B": None}, {"A": 1, "B": None}),
        ([{"name": "A", "value": "1"}, {"name": "B"}], {"A": "1", "B": ""}),
        (
            [{"name": "A", "valueFrom": {"fieldRef": {}}}],
            {"A": {"valueFrom": {"fieldRef": {}}}},
        ),
    ],
)
def test_parses_both_forms_of_an_environment(env: Json, expected: Json) -> None:
    assert parse_environment(env, "env") == expected


@pytest.mark.parametrize("env", ["A=1", ["A=1"], [{"value": "1"}], 5])
def test_invalid_environment_is_reported(env: Json) -> None:
    with pytest.raises(InvalidJobSpec, match="'env'"):
        parse_environment(env, "env")


def test_unresolved_reference_is_not_merged() -> None:
    reference = "{{ prefect.blocks.json.env }}"
    assert merge_environments({"A": "1"}, reference) == reference
    assert merge_environments(reference, {}) == reference
    assert merge_environments(reference, {"A": "1"}) == {"A": "1"}


def test_literal_values() -> None:
    env: dict[str, Json] = {"A": 1, "B": True, "C": None, "D": {"valueFrom": {}}, "E": ""}
    assert literal_values(env) == {"A": "1", "B": "True", "E": ""}
