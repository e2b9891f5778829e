from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployctl.core.errors import SettingsError, UsageError
from deployctl.worker.event_log import Level
from deployctl.worker.settings import (
    KUBERNETES_NAMES,
    NAMES,
    KubernetesSettings,
    SecretKey,
    WorkerSettings,
    WorkOptions,
    load_worker_settings,
)

KUBERNETES = "PREFECT_INTEGRATIONS_KUBERNETES_"


def load(folder: Path, environ: dict[str, str] | None = None, **rest: Any) -> WorkerSettings:
    return load_worker_settings({"PREFECT_HOME": str(folder), **(environ or {})}, folder, **rest)


def test_without_settings_the_defaults_hold(tmp_path: Path) -> None:
    assert load(tmp_path) == WorkerSettings()


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("PREFECT_WORKER_QUERY_SECONDS", "5", "query_seconds", 5.0),
        ("PREFECT_WORKER_PREFETCH_SECONDS", "0", "prefetch_seconds", 0.0),
        ("PREFECT_WORKER_HEARTBEAT_SECONDS", "2.5", "heartbeat_seconds", 2.5),
        ("PREFECT_WORKER_CANCELLATION_POLL_SECONDS", "60", "cancellation_poll_seconds", 60.0),
        ("PREFECT_WORKER_WEBSERVER_HOST", "127.0.0.1", "webserver_host", "127.0.0.1"),
        ("PREFECT_WORKER_WEBSERVER_PORT", "9000", "webserver_port", 9000),
        ("PREFECT_LOGGING_LEVEL", "warning", "logging_level", Level.WARNING),
        ("PREFECT_LOGGING_LEVEL", "CRITICAL", "logging_level", Level.ERROR),
        ("PREFECT_DEBUG_MODE", "true", "logging_level", Level.DEBUG),
        ("PREFECT_WORKER_DEBUG_MODE", "1", "logging_level", Level.DEBUG),
        ("PREFECT_WORKER_DEBUG_MODE", "0", "logging_level", Level.INFO),
        ("PREFECT_LOGGING_TO_API_ENABLED", "false", "logging_to_api", False),
        ("PREFECT_WORKER_QUERY_SECONDS", "", "query_seconds", 10.0),
    ],
)
def test_variables(tmp_path: Path, variable: str, text: str, field: str, value: Any) -> None:
    assert getattr(load(tmp_path, {variable: text}), field) == value


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        (KUBERNETES + "CLUSTER_UID", "c1", "cluster_uid", "c1"),
        ("PREFECT_KUBERNETES_CLUSTER_UID", "c1", "cluster_uid", "c1"),
        ("PREFECT_KUBERNETES_CLUSTER_UID", "", "cluster_uid", None),
        (
            KUBERNETES + "WORKER_CREATE_SECRET_FOR_API_KEY",
            "true",
            "create_secret_for_api_key",
            True,
        ),
        (
            "PREFECT_KUBERNETES_WORKER_STORE_PREFECT_API_IN_SECRET",
            "true",
            "create_secret_for_api_key",
            True,
        ),
        (KUBERNETES + "WORKER_STORE_ENV_AS_SECRET", "true", "store_env_as_secret", True),
        (KUBERNETES + "WORKER_CREATE_JOB_RETRY_MAX_RETRIES", "1", "create_tries", 1),
        (KUBERNETES + "OBSERVER_NAMESPACES", "a, b,a,", "namespaces", ("a", "b")),
        (KUBERNETES + "OBSERVER_REPLICATE_POD_EVENTS", "false", "replicate_pod_events", False),
        (KUBERNETES + "OBSERVER_FORWARD_CRASHED_RUN_LOGS", "false", "crash_log_lines", 0),
        (KUBERNETES + "OBSERVER_FORWARD_CRASHED_RUN_LOGS_TAIL_LINES", "9", "crash_log_lines", 9),
    ],
)
def test_variables_of_a_cluster(
    tmp_path: Path, variable: str, text: str, field: str, value: Any
) -> None:
    assert getattr(load(tmp_path, {variable: text}).kubernetes, field) == value


def test_tables_of_prefect_toml(tmp_path: Path) -> None:
    (tmp_path / "prefect.toml").write_text(
        """
        [worker]
        query_seconds = 7
        [worker.webserver]
        port = 9001
        [integrations.kubernetes.observer]
        namespaces = ["jobs", "more-jobs"]
        """
    )
    settings = load(tmp_path)
    assert (settings.query_seconds, settings.webserver_port) == (7.0, 9001)
    assert settings.kubernetes.namespaces == ("jobs", "more-jobs")
    assert (
        settings.origin("query_seconds") == f"'worker.query_seconds' in '{tmp_path}/prefect.toml'"
    )


def test_a_flag_goes_before_the_environment(tmp_path: Path) -> None:
    environ = {"PREFECT_WORKER_PREFETCH_SECONDS": "5"}
    settings = load(tmp_path, environ, flags={"prefetch_seconds": 3})
    assert (settings.prefetch_seconds, settings.origin("prefetch_seconds")) == (
        3.0,
        "--prefetch-seconds",
    )
    assert load(tmp_path, environ, flags={"prefetch_seconds": None}).prefetch_seconds == 5.0


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PREFECT_WORKER_QUERY_SECONDS", "0"),
        ("PREFECT_WORKER_QUERY_SECONDS", "nan"),
        ("PREFECT_WORKER_PREFETCH_SECONDS", "-1"),
        ("PREFECT_WORKER_WEBSERVER_PORT", "65536"),
        ("PREFECT_LOGGING_LEVEL", "LOUD"),
        (KUBERNETES + "WORKER_STORE_ENV_AS_SECRET", "perhaps"),
        (KUBERNETES + "WORKER_CREATE_JOB_RETRY_MAX_RETRIES", "0"),
    ],
)
def test_a_wrong_value_is_named_with_its_source(tmp_path: Path, variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=rf"'{variable}'.*in the environment"):
        load(tmp_path, {variable: text})


@pytest.mark.parametrize("what", ["API_KEY", "API_AUTH_STRING"])
def test_a_secret_is_found_by_name_and_key(tmp_path: Path, what: str) -> None:
    variable = f"{KUBERNETES}WORKER_{what}_SECRET_"
    both = load(tmp_path, {f"{variable}NAME": "prefect-api", f"{variable}KEY": "value"}).kubernetes
    found = both.api_key_secret if what == "API_KEY" else both.auth_string_secret
    assert found == SecretKey("prefect-api", "value")
    with pytest.raises(SettingsError, match=f"'{variable}NAME' is set, but '{variable}KEY' is not"):
        load(tmp_path, {f"{variable}NAME": "prefect-api", f"{variable}KEY": ""})
    with pytest.raises(SettingsError, match=f"'{variable}KEY' is set, but '{variable}NAME' is not"):
        load(tmp_path, {f"{variable}KEY": "value"})


def test_no_two_settings_share_a_field_or_a_variable() -> None:
    names = (*NAMES, *KUBERNETES_NAMES)
    variables = [variable for name in names for variable in name.env]
    assert len({name.field for name in names}) == len(names)
    assert len(set(variables)) == len(variables)


@pytest.mark.parametrize("name", ["", " ", "a/b", "100%"])
def test_names_that_prefect_does_not_allow_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="worker"):
        WorkOptions(pool="pool", name=name)
    with pytest.raises(UsageError, match="work pool"):
        WorkOptions(pool=name, name="worker")


def test_the_environment_that_the_official_chart_sets(tmp_path: Path) -> None:
    environ = {
        "PREFECT_API_URL": "http://prefect-server.prefect.svc.cluster.local:4200/api",
        "PREFECT_WORKER_QUERY_SECONDS": "5",
        "PREFECT_WORKER_PREFETCH_SECONDS": "10",
        "PREFECT_API_ENABLE_HTTP2": "true",
        "PREFECT_KUBERNETES_CLUSTER_UID": "",
        "PREFECT_DEBUG_MODE": "false",
        f"{KUBERNETES}OBSERVER_NAMESPACES": "prefect",
        f"{KUBERNETES}WORKER_API_KEY_SECRET_NAME": "prefect-api-key",
        f"{KUBERNETES}WORKER_API_KEY_SECRET_KEY": "key",
        f"{KUBERNETES}WORKER_API_AUTH_STRING_SECRET_NAME": "prefect-auth",
        f"{KUBERNETES}WORKER_API_AUTH_STRING_SECRET_KEY": "auth-string",
    }
    assert load(tmp_path, environ) == WorkerSettings(
        query_seconds=5.0,
        kubernetes=KubernetesSettings(
            namespaces=("prefect",),
            api_key_secret=SecretKey("prefect-api-key", "key"),
            auth_string_secret=SecretKey("prefect-auth", "auth-string"),
        ),
        sources=load(tmp_path, environ).sources,
    )


def test_options_of_one_of_several_pools_create_only_what_was_named() -> None:
    options = WorkOptions("etl", "w", ("team-*", "x[1]*"), base_job_template={"a": 1})
    assert (options.names, options.patterns) == (("etl",), ("team-*", "x[1]*"))
    matching = ["team-", "team-a", "x[1]y", "a-team-a", "Team-a", "x1", "etl"]
    assert [name for name in matching if options.matches(name)] == ["team-", "team-a", "x[1]y"]
    for name, create in (("etl", True), ("team-a", False)):
        single = options.for_pool(name)
        assert (single.pool, single.other_pools, single.create_pool) == (name, (), create)
        assert not single.sync_base_job_template
