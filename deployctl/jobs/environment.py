"""Environment variables of a job: where they come from and which one wins.

From lowest to highest precedence: the worker's own settings, the ids of the run, the environment of
the container in the pool's manifest, and the job variable `env` of pool, deployment and run. A null
removes an inherited variable. In Prefect 3 the worker's settings win over the manifest's container;
in Prefect 2 they do not, and neither do they here: a `PREFECT_API_URL` that is written into a
container is intended.

While it is assembled, an environment is a mapping of names to text, null or Kubernetes'
`{"valueFrom": …}`, whatever form it was written in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from deployctl.api.setting_sources import Source
from deployctl.api.settings import Settings
from deployctl.core.json_values import Json
from deployctl.jobs.model import InvalidJobSpec, JobSource, major_version

API_KEY = "PREFECT_API_KEY"
AUTH_STRING = "PREFECT_API_AUTH_STRING"
HEADERS = "PREFECT_CLIENT_CUSTOM_HEADERS"

_NOT_FOR_JOBS = re.compile(
    r"PREFECT_(_|HOME$|PROFILE|(WORKER|SERVER|INTEGRATIONS|KUBERNETES|DEPLOYCTL)_)"
)


def inherited_settings(sources: Sequence[Source], settings: Settings) -> dict[str, str]:
    """The worker's settings that its jobs inherit, as environment variables.

    These are all `PREFECT_*` settings except those about the worker, its machine or a server.
    `sources` are ordered from highest to lowest precedence. The server's address and credentials
    are those in `settings`, wherever they were set.
    """
    found: dict[str, str] = {}
    for source in reversed(sources):
        pairs = _flatten(source.values) if source.tables else source.values.items()
        for name, value in pairs:
            text = _to_text(value)
            if text and name.startswith("PREFECT_") and not _NOT_FOR_JOBS.match(name):
                found[name] = text
    connection = {
        "PREFECT_API_URL": settings.api_url,
        API_KEY: settings.api_key,
        AUTH_STRING: settings.auth_string,
    }
    return found | {name: text for name, text in connection.items() if text}


def flow_run_variables(source: JobSource) -> dict[str, str]:
    """Variables that identify the run to its job and, on Prefect 3, its origin to the API."""
    run = {"PREFECT__FLOW_RUN_ID": source.flow_run["id"]}
    if major_version(source.server_version) < 3:
        return run
    origin = {
        "PREFECT__WORKER_NAME": source.worker_name,
        "PREFECT__FLOW_ID": source.flow_run.get("flow_id"),
        "PREFECT__FLOW_NAME": (source.flow or {}).get("name"),
        "PREFECT__DEPLOYMENT_ID": source.flow_run.get("deployment_id"),
        "PREFECT__DEPLOYMENT_NAME": (source.deployment or {}).get("name"),
    }
    return run | {name: text for name, text in origin.items() if text}


def parse_environment(env: Json, where: str) -> dict[str, Json]:
    """Parses an environment that is written as a mapping or as Kubernetes' list.

    Raises InvalidJobSpec with `where` in its message for anything else.
    """
    if env is None:
        return {}
    if isinstance(env, dict):
        return {str(name): value for name, value in env.items()}
    if not isinstance(env, list) or not all(isinstance(item, dict) for item in env):
        raise InvalidJobSpec(f"'{where}' is neither a mapping nor a list of names and values")
    found: dict[str, Json] = {}
    for item in env:
        if not isinstance(item.get("name"), str):
            raise InvalidJobSpec(f"'{where}' has an item without a name")
        value_from = item.get("valueFrom")
        found[item["name"]] = {"valueFrom": value_from} if value_from else item.get("value", "")
    return found


def merge_environments(base: Json, override: Json) -> Json:
    """The variables of both environments; `override` wins if both have one.

    An environment that is still an unresolved reference cannot be merged: `override` replaces it.
    """
    if isinstance(override, str) or (isinstance(base, str) and not override):
        return override or base
    parsed = parse_environment({} if isinstance(base, str) else base, "env")
    return parsed | parse_environment(override, "env")


def literal_values(env: Mapping[str, Json]) -> dict[str, str]:
    """The variables with a known value, as text: no nulls and no `valueFrom`."""
    return {
        name: str(value)
        for name, value in env.items()
        if value is not None and not is_reference(value)
    }


def is_reference(value: Json) -> bool:
    """Whether a variable's value is known only to the cluster (`valueFrom`)."""
    return isinstance(value, dict) and "valueFrom" in value


def _flatten(tables: Mapping[str, Json], prefix: str = "PREFECT") -> Iterator[tuple[str, Json]]:
    """Settings of a TOML file by the names of their variables: `api.url` is `PREFECT_API_URL`."""
    for key, value in tables.items():
        name = f"{prefix}_{key}".upper()
        if isinstance(value, Mapping) and name != HEADERS:
            yield from _flatten(value, name)
        else:
            yield name, value


def _to_text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)
