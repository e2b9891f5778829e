"""Options and settings of a worker.

Options say what this worker serves and come from the command line. Settings say how it works and
come from Prefect's sources, under Prefect's names. Settings of Prefect's worker that have no
meaning here (the switch of its observer, its keep-alive, its retry intervals) are not read: Jobs
are always observed, and retries go on until they succeed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from deployctl.api.setting_fields import (
    SettingField,
    parse_count,
    parse_flag,
    parse_list,
    parse_number,
    parse_seconds,
    parse_text,
    read_settings,
)
from deployctl.api.setting_sources import find_sources
from deployctl.core.errors import SettingsError, UsageError
from deployctl.core.json_values import Json
from deployctl.worker.event_log import Level
from deployctl.worker.runtimes import RuntimeKind


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """Options of `deployctl worker`."""

    pool: str
    """Name, or pattern with `*` and `?`."""
    name: str
    other_pools: tuple[str, ...] = ()
    """Further names and patterns."""
    type: str | None = None
    """Type of a pool that is created; an existing pool must be of this type. None: any."""
    queues: tuple[str, ...] = ()
    """Work queues to take runs from; empty: all of the pool."""
    limit: int | None = None
    """Largest number of live Jobs of workers of this name; None: unlimited."""
    run_once: bool = False
    base_job_template: Json = None
    """Of the pool; None: the pool's own, and for a new pool the default of its type."""
    sync_base_job_template: bool = True
    """Whether `base_job_template` replaces that of an existing pool."""
    create_pool: bool = True
    runtime: RuntimeKind | None = None
    """None: the one for the pool's type."""
    with_healthcheck: bool = False
    shared_name: bool = False
    """Other workers have this name, too, so a claim under it from elsewhere may be theirs."""
    stop_jobs: bool = False
    """End all jobs with the worker, since their server ends, too."""

    def __post_init__(self) -> None:
        """Raises UsageError for a name that Prefect does not allow."""
        pools = [("work pool", pool) for pool in (self.pool, *self.other_pools)]
        for what, name in (("worker", self.name), *pools):
            if not name.strip() or "/" in name or "%" in name:
                raise UsageError(
                    f"'{name}' cannot be the name of a {what}",
                    help="Use a name with at least one letter and without '/' and '%'.",
                )

    @property
    def patterns(self) -> tuple[str, ...]:
        """Those of the pools that are patterns."""
        return tuple(each for each in (self.pool, *self.other_pools) if set(each) & set("*?"))

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the pools that are names, once each."""
        pools = dict.fromkeys((self.pool, *self.other_pools))
        return tuple(pool for pool in pools if pool not in self.patterns)

    def matches(self, pool: str) -> bool:
        """Whether a pattern matches this name."""
        patterns = (each.replace("[", "[[]") for each in self.patterns)
        return any(fnmatchcase(pool, pattern) for pattern in patterns)

    def for_pool(self, name: str) -> WorkOptions:
        """Returns the options for one of several pools.

        One that a pattern found is never created, and none gets the template of another.
        """
        create = self.create_pool and name in self.names
        return replace(
            self, pool=name, other_pools=(), create_pool=create, sync_base_job_template=False
        )


@dataclass(frozen=True, slots=True)
class SecretKey:
    """Name and key of a value in a Kubernetes Secret."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """How Jobs are created and observed in a cluster."""

    cluster_uid: str | None = None
    api_key_secret: SecretKey | None = None
    """Secret that Jobs get the API key from, instead of a value in their manifest."""
    auth_string_secret: SecretKey | None = None
    create_secret_for_api_key: bool = False
    store_env_as_secret: bool = False
    namespaces: tuple[str, ...] = ()
    """Namespaces in which Jobs are watched; empty: all."""
    replicate_pod_events: bool = True
    crash_log_lines: int = 500
    """Last lines of a crashed Job that are copied into its run's log; 0: none."""
    create_tries: int = 3
    """Consecutive tries to create a Job; after that the run backs off and is tried again."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Settings of a worker; durations are in seconds."""

    query_seconds: float = 10.0
    prefetch_seconds: float = 10.0
    heartbeat_seconds: float = 30.0
    cancellation_poll_seconds: float = 10.0
    """Interval of reading active runs. Prefect's default of 120 is a fallback for its websocket;
    here, reading is how a cancellation is noticed."""
    webserver_host: str = "0.0.0.0"
    webserver_port: int = 8080
    logging_level: Level = Level.INFO
    logging_to_api: bool = True
    kubernetes: KubernetesSettings = KubernetesSettings()
    sources: Mapping[str, str] = field(default_factory=dict)
    """Field → source of its value; fields with their default are missing."""

    def origin(self, name: str) -> str:
        """Returns the source of a field's value."""
        return self.sources.get(name, "the defaults")


def load_worker_settings(
    environ: Mapping[str, str],
    folder: Path,
    *,
    flags: Mapping[str, Json] | None = None,
    profile: str | None = None,
) -> WorkerSettings:
    """Reads the settings that apply in `folder`; parameters as for `load_settings`.

    Raises SettingsError that names the source of an invalid value.
    """
    sources = find_sources(environ, folder, profile)
    found = read_settings(NAMES, sources, flags)
    values = dict(found.values)
    if values.pop("debug_mode", False) | values.pop("worker_debug_mode", False):
        values["logging_level"] = Level.DEBUG
    kubernetes = read_settings(KUBERNETES_NAMES, sources)
    return WorkerSettings(
        **values, kubernetes=_kubernetes(dict(kubernetes.values)), sources=found.sources
    )


def _kubernetes(values: dict[str, Any]) -> KubernetesSettings:
    for secret in ("api_key_secret", "auth_string_secret"):
        values[secret] = _secret(secret, values)
    if not values.pop("forward_crash_logs", True):
        values["crash_log_lines"] = 0
    return KubernetesSettings(**values)


def _secret(field_name: str, values: dict[str, Any]) -> SecretKey | None:
    """Returns a Secret's name and key. One without the other is an error: Prefect's worker then
    silently leaves the value in plain text in every Job."""
    parts = (f"{field_name}_name", f"{field_name}_key")
    name, key = (values.pop(part, None) for part in parts)
    if name and key:
        return SecretKey(name, key)
    if name or key:
        variables = {each.field: each.env[0] for each in KUBERNETES_NAMES}
        given, missing = parts if name else parts[::-1]
        raise SettingsError(
            f"'{variables[given]}' is set, but '{variables[missing]}' is not",
            help="Set both: the name of the Secret and the key of the value in it.",
        )
    return None


def _level(value: Json) -> Level:
    """Parses a level by Python's names, in any case."""
    known = {level.value.upper(): level for level in Level}
    known |= {"WARN": Level.WARNING, "CRITICAL": Level.ERROR}
    try:
        return known[str(value).strip().upper()]
    except KeyError:
        raise ValueError from None


def _tries(value: Json) -> int:
    if (tries := parse_count(value)) == 0:
        raise ValueError
    return tries


def _port(value: Json) -> int:
    if (port := parse_count(value)) > 65535:
        raise ValueError
    return port


_SECONDS = "a number of seconds above 0"
_FLAG = "true or false"
_COUNT = "a whole number from 0 on"
_WORKER = ("integrations", "kubernetes", "worker")
_OBSERVER = ("integrations", "kubernetes", "observer")

NAMES: tuple[SettingField, ...] = (
    SettingField("query_seconds", ("worker", "query_seconds"), parse_seconds, _SECONDS),
    SettingField(
        "prefetch_seconds",
        ("worker", "prefetch_seconds"),
        parse_number,
        "a number of seconds from 0 on",
    ),
    SettingField("heartbeat_seconds", ("worker", "heartbeat_seconds"), parse_seconds, _SECONDS),
    SettingField(
        "cancellation_poll_seconds",
        ("worker", "cancellation_poll_seconds"),
        parse_seconds,
        _SECONDS,
    ),
    SettingField("webserver_host", ("worker", "webserver", "host"), parse_text),
    SettingField(
        "webserver_port", ("worker", "webserver", "port"), _port, "a port from 0 to 65535"
    ),
    SettingField("logging_level", ("logging", "level"), _level, "DEBUG, INFO, WARNING or ERROR"),
    SettingField("logging_to_api", ("logging", "to_api", "enabled"), parse_flag, _FLAG),
    SettingField("debug_mode", ("debug_mode",), parse_flag, _FLAG),
    SettingField("worker_debug_mode", ("worker", "debug_mode"), parse_flag, _FLAG),
)
"""Settings of every worker."""

KUBERNETES_NAMES: tuple[SettingField, ...] = (
    SettingField(
        "cluster_uid",
        ("integrations", "kubernetes", "cluster_uid"),
        parse_text,
        aliases=("PREFECT_KUBERNETES_CLUSTER_UID",),
    ),
    SettingField("api_key_secret_name", (*_WORKER, "api_key_secret_name"), parse_text),
    SettingField("api_key_secret_key", (*_WORKER, "api_key_secret_key"), parse_text),
    SettingField("auth_string_secret_name", (*_WORKER, "api_auth_string_secret_name"), parse_text),
    SettingField("auth_string_secret_key", (*_WORKER, "api_auth_string_secret_key"), parse_text),
    SettingField(
        "create_secret_for_api_key",
        (*_WORKER, "create_secret_for_api_key"),
        parse_flag,
        _FLAG,
        aliases=("PREFECT_KUBERNETES_WORKER_STORE_PREFECT_API_IN_SECRET",),
    ),
    SettingField("store_env_as_secret", (*_WORKER, "store_env_as_secret"), parse_flag, _FLAG),
    SettingField(
        "create_tries",
        (*_WORKER, "create_job_retry", "max_retries"),
        _tries,
        "a whole number from 1 on",
    ),
    SettingField(
        "namespaces", (*_OBSERVER, "namespaces"), parse_list, "names with commas between them"
    ),
    SettingField("replicate_pod_events", (*_OBSERVER, "replicate_pod_events"), parse_flag, _FLAG),
    SettingField("forward_crash_logs", (*_OBSERVER, "forward_crashed_run_logs"), parse_flag, _FLAG),
    SettingField(
        "crash_log_lines", (*_OBSERVER, "forward_crashed_run_logs_tail_lines"), parse_count, _COUNT
    ),
)
"""Settings of a worker whose Jobs run in Kubernetes."""
