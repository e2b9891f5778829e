"""API dialects: which fields a version of Prefect accepts, and how it names them.

The rows of `project/keys.py` hold the versions of each field, read from Prefect's source or seen
on a running server; a version newer than all rows is treated like the newest. Where they may not
fit (a server built from a branch), `fetch_refined` reads the server's own OpenAPI document; this is
half a megabyte, so it is requested only when an update depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from deployctl.api.calls import ApiCall, Request, call
from deployctl.core.diagnostics import Report
from deployctl.core.errors import ApiError
from deployctl.core.json_values import Json

Version: TypeAlias = tuple[int, int, int]
Operation: TypeAlias = Literal["create", "update"]

OLDEST_SUPPORTED: Version = (2, 16, 0)
"""The first version with a list of schedules; before, a deployment had one schedule without an
id."""
OLDEST_TESTED: Version = (2, 20, 0)
"""The oldest version that deployctl is tested with."""
NEWEST_TESTED: Version = (3, 9, 1)
"""The newest version that deployctl is tested with."""


@dataclass(frozen=True, slots=True)
class Range:
    """The versions of Prefect in which something holds: from `since`, up to but not `until`."""

    since: Version = (0, 0, 0)
    until: Version = (9999, 0, 0)

    def includes(self, version: Version) -> bool:
        """Whether a version is in the range."""
        return self.since <= version < self.until


ALWAYS = Range()
NEVER = Range(until=(0, 0, 0))


@dataclass(frozen=True, slots=True)
class ApiField:
    """A field of an object of the API, and which versions accept it."""

    name: str
    create: Range = ALWAYS
    """Versions whose POST accepts it."""
    update: Range | None = None
    """Versions whose PATCH or PUT accepts it; None: the same as `create`."""
    name_in_2: str = ""
    """What Prefect 2 calls it, if it has another name there."""


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
    """Which fields one server accepts, and how they are named."""

    version: Version = NEWEST_TESTED
    cloud: bool = False
    server_fields: Mapping[tuple[str, Operation], frozenset[str]] = field(
        default_factory=dict, hash=False
    )
    """Fields from the server's own OpenAPI document, if it was read; they replace the table."""
    has_automations: bool = True
    """Whether the server serves automations; a 2.20 server does only if its settings say so."""

    def __str__(self) -> str:
        return f"Prefect {self.release or 'Cloud'}"

    @property
    def release(self) -> str:
        """The server's version, e.g. `3.9.1`; "" for Prefect Cloud, which doesn't report one."""
        return "" if self.cloud else _format(self.version)

    @property
    def major(self) -> int:
        """The major version: 2 or 3."""
        return self.version[0]

    def name_of(self, field: ApiField) -> str:
        """What this server calls a field."""
        return field.name_in_2 if self.major < 3 and field.name_in_2 else field.name

    def accepts(self, kind: str, field: ApiField, op: Operation = "create") -> bool:
        """Whether the server accepts a field when a resource of this kind is created or updated.

        The server's own schema decides if it was read (`fetch_refined`), the ranges of the field
        otherwise.
        """
        if (kind, op) in self.server_fields:
            return self.name_of(field) in self.server_fields[kind, op]
        versions = field.create if op == "create" or field.update is None else field.update
        return versions.includes(self.version)


CLOUD = Dialect(cloud=True)
"""Prefect Cloud, which follows the newest version and doesn't report one."""


def detect(cloud: bool = False) -> ApiCall[Dialect]:
    """Detects the dialect with one request, and with none for Prefect Cloud.

    Raises ApiError if there is no supported server.
    """
    if cloud:
        return CLOUD
    response = yield from call(Request("GET", "/admin/version", subject="the server's version"))
    return parse_dialect(response)


def parse_dialect(text: Json) -> Dialect:
    """The dialect of a version such as "3.9.1", "3.0.0rc1" or "2.20.27+1.gabc"; raises ApiError."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text) if isinstance(text, str) else None
    if match is None:
        raise ApiError(
            "the server does not report a Prefect version",
            help="Set PREFECT_API_URL to the address of a Prefect API; it usually ends in /api.",
        )
    version = (int(match[1]), int(match[2]), int(match[3] or 0))
    if version < OLDEST_SUPPORTED:
        raise ApiError(
            f"the server is Prefect {text}, which is too old for deployctl",
            help=f"Upgrade it to {_format(OLDEST_SUPPORTED)} or newer; deployctl is tested with "
            f"{_format(OLDEST_TESTED)} and newer.",
        )
    return Dialect(version)


def warn_if_untested(dialect: Dialect, report: Report) -> None:
    """Warns about a server that deployctl supports but is not tested with."""
    if dialect.version < OLDEST_TESTED:
        report.add(
            "DC501",
            f"the server is {dialect}; deployctl is tested with {_format(OLDEST_TESTED)} and newer",
            help="Upgrade the server, or review the plan carefully.",
        )


def fetch_refined(dialect: Dialect) -> ApiCall[Dialect]:
    """Refines the dialect with the server's OpenAPI document, unless the server hides it."""
    document = yield from call(
        Request("GET", "/openapi.json", subject="the server's schema", missing_ok=True)
    )
    return refine(dialect, document)


def refine(dialect: Dialect, document: Json) -> Dialect:
    """A dialect that takes its fields from an OpenAPI document wherever that describes them."""
    found = {
        key: fields for key, route in _ROUTES.items() if (fields := _properties(document, *route))
    }
    return replace(dialect, server_fields=found)


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


def _format(version: Version) -> str:
    return ".".join(map(str, version))
