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
from typing import Literal, TypeAlias

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

    def name_of(self, field: ApiField) -> str:
        """What this server calls a field."""
        return field.name_in_2 if self.major < 3 and field.name_in_2 else field.name

    def accepts(self, kind: str, field: ApiField, op: Operation = "create") -> bool:
        """Whether the server accepts a field when a resource of this kind is created or updated.

        The server's own schema decides if it was read (`fetch_refined`), the ranges of the field
        otherwise.
        """
        if (kind, op) in self.own:
            return self.name_of(field) in self.own[kind, op]
        versions = field.create if op == "create" or field.update is None else field.update
        return versions.includes(self.version)


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
