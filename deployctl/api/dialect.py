"""What a server takes: the differences between the versions of Prefect, as one table.

Every row was read from the source or seen on a running server. A version that the table does not
know is treated as the newest that it does. Where the table is not enough (a server built from a
branch), `refined` reads the server's own schema: that costs a document of half a megabyte, so it is
asked for only when an update depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from deployctl.api.calls import ApiCall, Request, call
from deployctl.core.diagnostics import Report
from deployctl.core.errors import ApiError
from deployctl.core.json_values import Json

Version: TypeAlias = tuple[int, int, int]
Operation: TypeAlias = Literal["create", "update"]

OLDEST_SUPPORTED: Version = (2, 16, 0)
"""The first with a list of schedules; before, a deployment had one schedule and no id for it."""
OLDEST_TESTED: Version = (2, 20, 0)
"""The first that deployctl is tested with."""
NEWEST_TESTED: Version = (3, 8, 8)
"""The last that deployctl is tested with."""

_ALWAYS: Version = (0, 0, 0)
_NEVER: Version = (9999, 0, 0)


class Range(NamedTuple):
    """The versions that take a field: from `since`, up to and without `until`."""

    since: Version = _ALWAYS
    until: Version = _NEVER


def _fields(names: str, **special: Range) -> Mapping[str, Range]:
    return MappingProxyType({**dict.fromkeys(names.split(), Range()), **special})


_OLD = Range(until=(3, 0, 0))

_DEPLOYMENT = _fields(
    "description enforce_parameter_schema entrypoint parameters path paused schedules "
    "storage_document_id tags version work_pool_name work_queue_name",
    infra_overrides=_OLD,
    job_variables=Range((3, 0, 0)),
    concurrency_limit=Range((3, 0, 0)),
    concurrency_options=Range((3, 0, 3)),
    global_concurrency_limit_id=Range((3, 3, 6)),
    version_info=Range((3, 3, 6)),
)
_SCHEDULE = _fields(
    "schedule active max_scheduled_runs",
    parameters=Range((3, 2, 0)),
    slug=Range((3, 2, 0)),
    replaces=Range((3, 6, 17)),
)
_POOL = _fields(
    "description is_paused base_job_template concurrency_limit",
    storage_configuration=Range((3, 2, 14)),
)
_QUEUE = _fields("name description is_paused concurrency_limit priority")
_AUTOMATION = _fields(
    "name description enabled trigger actions actions_on_trigger actions_on_resolve",
    tags=Range((3, 0, 0)),
)
_TABLE: Mapping[tuple[str, Operation], Mapping[str, Range]] = {
    ("flow", "create"): _fields("name tags", labels=Range((3, 1, 5))),
    ("deployment", "create"): {
        **_DEPLOYMENT,
        **_fields("name flow_id pull_steps parameter_openapi_schema", labels=Range((3, 1, 5))),
    },
    ("deployment", "update"): {
        **_DEPLOYMENT,
        **_fields("", pull_steps=Range((3, 2, 0)), parameter_openapi_schema=Range((3, 2, 0))),
    },
    ("concurrency_options", "create"): _fields(
        "collision_strategy", grace_period_seconds=Range((3, 6, 6))
    ),
    ("concurrency_options", "update"): _fields(
        "collision_strategy", grace_period_seconds=Range((3, 6, 6))
    ),
    ("schedule", "create"): _SCHEDULE,
    ("schedule", "update"): _SCHEDULE,
    ("work_pool", "create"): {**_POOL, **_fields("name type")},
    ("work_pool", "update"): _POOL,
    ("work_queue", "create"): _QUEUE,
    ("work_queue", "update"): _QUEUE,
    ("automation", "create"): {**_AUTOMATION, **_fields("owner_resource")},
    ("automation", "update"): _AUTOMATION,
}

_ROUTES: Mapping[tuple[str, Operation], tuple[str, str]] = {
    ("flow", "create"): ("post", "/flows/"),
    ("deployment", "create"): ("post", "/deployments/"),
    ("deployment", "update"): ("patch", "/deployments/{id}"),
    ("schedule", "create"): ("post", "/deployments/{id}/schedules"),
    ("schedule", "update"): ("patch", "/deployments/{id}/schedules/{schedule_id}"),
    ("work_pool", "create"): ("post", "/work_pools/"),
    ("work_pool", "update"): ("patch", "/work_pools/{name}"),
    ("work_queue", "create"): ("post", "/work_pools/{work_pool_name}/queues"),
    ("work_queue", "update"): ("patch", "/work_pools/{work_pool_name}/queues/{name}"),
    ("automation", "create"): ("post", "/automations/"),
    ("automation", "update"): ("put", "/automations/{id}"),
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One server's way of speaking."""

    version: Version = NEWEST_TESTED
    cloud: bool = False
    own: Mapping[tuple[str, Operation], frozenset[str]] = field(default_factory=dict, hash=False)
    """What the server's own schema says, where it was read."""

    def __str__(self) -> str:
        return f"Prefect {self.release or 'Cloud'}"

    @property
    def release(self) -> str:
        """The server's version, `3.8.8`; "" for Prefect Cloud, which does not say."""
        return "" if self.cloud else _show(self.version)

    @property
    def major(self) -> int:
        """2 or 3."""
        return self.version[0]

    @property
    def job_variables(self) -> str:
        """The key of a deployment's job variables, in what is sent and in what comes back."""
        return "infra_overrides" if self.major < 3 else "job_variables"

    def fields(self, kind: str, op: Operation = "create") -> frozenset[str]:
        """The fields that the server takes for an operation on a kind of object.

        Kinds: flow, deployment, concurrency_options, schedule, work_pool, work_queue, automation.
        """
        if (kind, op) in self.own:
            return self.own[kind, op]
        rows = _TABLE[kind, op]
        return frozenset(
            name for name, row in rows.items() if row.since <= self.version < row.until
        )

    def accepts(self, kind: str, name: str, op: Operation = "create") -> bool:
        """Whether the server takes the field `name` for an operation on a kind of object."""
        return name in self.fields(kind, op)


CLOUD = Dialect(cloud=True)
"""Prefect Cloud follows the newest version and says no number."""


def detect(cloud: bool = False) -> ApiCall[Dialect]:
    """Asks a server once for its version, and Prefect Cloud not at all.

    Raises ApiError where there is no server that we can talk to.
    """
    if cloud:
        return CLOUD
    answer = yield from call(Request("GET", "/admin/version", subject="the server's version"))
    return parse_dialect(answer)


def parse_dialect(text: Json) -> Dialect:
    """The dialect of a version such as "3.8.8", "3.0.0rc1" or "2.20.26+1.gabc"."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text) if isinstance(text, str) else None
    if match is None:
        raise ApiError(
            "the server does not say which version of Prefect it is",
            help="PREFECT_API_URL has to be the address of a Prefect API; it usually ends in /api.",
        )
    version = (int(match[1]), int(match[2]), int(match[3] or 0))
    if version < OLDEST_SUPPORTED:
        raise ApiError(
            f"the server is Prefect {text}, which is too old for deployctl",
            help=f"deployctl needs {_show(OLDEST_SUPPORTED)} or newer, and is tested with "
            f"{_show(OLDEST_TESTED)} and newer.",
        )
    return Dialect(version)


def warn_if_untested(dialect: Dialect, report: Report) -> None:
    """Warns about a server that deployctl can talk to and is not tested with."""
    if dialect.version < OLDEST_TESTED:
        report.warning(
            "DC501",
            f"the server is {dialect}; deployctl is tested with {_show(OLDEST_TESTED)} and newer",
            help="Upgrade the server, or look at the plan with care.",
        )


def fetch_refined(dialect: Dialect) -> ApiCall[Dialect]:
    """Reads the server's own schema; a server that hides it leaves the dialect as it is."""
    document = yield from call(
        Request("GET", "/openapi.json", subject="the server's schema", missing_ok=True)
    )
    return refine(dialect, document)


def refine(dialect: Dialect, document: Json) -> Dialect:
    """A dialect that goes by an OpenAPI document wherever it describes an operation of ours."""
    own = {key: found for key, route in _ROUTES.items() if (found := _properties(document, *route))}
    return replace(dialect, own=own)


def _properties(document: Json, method: str, path: str) -> frozenset[str]:
    try:
        body = document["paths"][path][method]["requestBody"]
        schema = body["content"]["application/json"]["schema"]
    except (KeyError, TypeError):
        return frozenset()
    return frozenset(_names(document, schema))


def _names(document: Json, schema: Json) -> Iterator[str]:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        yield from _names(document, document["components"]["schemas"][name])
    yield from schema.get("properties", {})
    for part in schema.get("allOf", ()):
        yield from _names(document, part)
    if "items" in schema:
        yield from _names(document, schema["items"])


def _show(version: Version) -> str:
    return ".".join(map(str, version))
