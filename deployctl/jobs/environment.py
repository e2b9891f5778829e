"""The environment variables of a job: who may set them, and who wins.

From the weakest to the strongest: the settings that the worker itself has, the ids of the run, what
the pool writes into its container, and the job variable `env` of pool, deployment and run. Null
takes an inherited variable away. Prefect 3 lets the worker's settings win over what the pool writes
into its container; Prefect 2 does not, and neither do we: who writes `PREFECT_API_URL` into a
container means it.

While it is being put together, an environment is a mapping of names to text, null or Kubernetes'
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


def inherited_settings(places: Sequence[Source], settings: Settings) -> dict[str, str]:
    """The settings of the worker that its jobs get: every set `PREFECT_*` that is not about the
    worker, its machine or a server.

    `places`: where settings stand, the strongest first. What `settings` says of the server's
    address and credentials is passed on wherever it came from.
    """
    found: dict[str, str] = {}
    for place in reversed(places):
        pairs = _flat(place.values) if place.tables else place.values.items()
        for name, value in pairs:
            text = _text(value)
            if text and name.startswith("PREFECT_") and not _NOT_FOR_JOBS.match(name):
                found[name] = text
    own = {
        "PREFECT_API_URL": settings.api_url,
        API_KEY: settings.api_key,
        AUTH_STRING: settings.auth_string,
    }
    return found | {name: text for name, text in own.items() if text}


def flow_run_variables(subject: JobSource) -> dict[str, str]:
    """The variables by which a job knows its run and, on Prefect 3, names its origin to the API."""
    run = {"PREFECT__FLOW_RUN_ID": subject.flow_run["id"]}
    if major_version(subject.server_version) < 3:
        return run
    origin = {
        "PREFECT__WORKER_NAME": subject.worker_name,
        "PREFECT__FLOW_ID": subject.flow_run.get("flow_id"),
        "PREFECT__FLOW_NAME": (subject.flow or {}).get("name"),
        "PREFECT__DEPLOYMENT_ID": subject.flow_run.get("deployment_id"),
        "PREFECT__DEPLOYMENT_NAME": (subject.deployment or {}).get("name"),
    }
    return run | {name: text for name, text in origin.items() if text}


def parse_environment(env: Json, where: str) -> dict[str, Json]:
    """The variables of an environment, written as a mapping or as Kubernetes' list.

    Raises Undescribable, which names `where`, for anything else.
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
        source = item.get("valueFrom")
        found[item["name"]] = {"valueFrom": source} if source else item.get("value", "")
    return found


def merge_environments(under: Json, over: Json) -> Json:
    """The variables of two environments, with those of `over` where both have one.

    An environment that is still a reference cannot be merged: the stronger one stands alone.
    """
    if isinstance(over, str) or (isinstance(under, str) and not over):
        return over or under
    return parse_environment({} if isinstance(under, str) else under, "env") | parse_environment(
        over, "env"
    )


def literal_values(env: Mapping[str, Json]) -> dict[str, str]:
    """The variables whose values are known here, as text, without those that null takes away."""
    return {
        name: str(value)
        for name, value in env.items()
        if value is not None and not is_reference(value)
    }


def is_reference(value: Json) -> bool:
    """Whether only the cluster knows the value: it says where it comes from."""
    return isinstance(value, dict) and "valueFrom" in value


def _flat(tables: Mapping[str, Json], name: str = "PREFECT") -> Iterator[tuple[str, Json]]:
    """The settings of a TOML file by their variables' names: `api.url` is `PREFECT_API_URL`."""
    for key, value in tables.items():
        full = f"{name}_{key}".upper()
        if isinstance(value, Mapping) and full != HEADERS:
            yield from _flat(value, full)
        else:
            yield full, value


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)
