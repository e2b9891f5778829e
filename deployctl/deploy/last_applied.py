"""What a project declared at its last apply, kept on the server so that any machine can continue.

The record names, for each resource, the fields that the file declared: names only, never values,
so it holds no secret. It is an artifact: on every Prefect server the one place that stores
megabytes under a key of our choice and is never cleaned up. One key per project; each write adds a
version, and the latest counts.

A field is recorded before it is first written and until after it was last reset, so that a deploy
killed at any point is completed by the next one.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.core.errors import DeployctlError, LostResponse
from deployctl.core.json_values import Json
from deployctl.deploy.model import Key, Resource
from deployctl.deploy.resources import RESOURCE_KINDS

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class LastApplied:
    """Kind → key → declared fields, and kinds of children whose whole list was declared."""

    resources: Mapping[str, Mapping[Key, frozenset[str]]] = field(default_factory=dict)

    def declared(self, kind: str, key: Key) -> frozenset[str]:
        """What an earlier apply declared on this resource; empty if it declared none."""
        return self.resources.get(kind, {}).get(key, frozenset())

    def children(self, kind: str, parent: Key) -> list[Key]:
        """The keys of the recorded children of a resource that are of this kind."""
        return [key for key in self.resources.get(kind, {}) if key[: len(parent)] == parent]

    def roots(self) -> list[tuple[str, Key]]:
        """Kind and key of each recorded resource that is no child of another."""
        return [
            (kind, key)
            for kind, entries in self.resources.items()
            if kind in RESOURCE_KINDS and not RESOURCE_KINDS[kind].parent
            for key in entries
        ]

    def add(self, desired: Iterable[Resource]) -> LastApplied:
        """The record with what `desired` declares added: to write before the first change."""
        merged = {kind: dict(entries) for kind, entries in self.resources.items()}
        for kind, key, names in _declarations(desired):
            entries = merged.setdefault(kind, {})
            entries[key] = entries.get(key, frozenset()) | names
        return LastApplied(merged)

    def replace(self, applied: Iterable[Resource]) -> LastApplied:
        """The record with exactly what the applied roots declare, for them and their children."""
        roots = tuple(applied)
        replaced = {(root.kind, root.key) for root in roots}
        kept = {
            kind: {key: names for key, names in entries.items() if _root(kind, key) not in replaced}
            for kind, entries in self.resources.items()
        }
        return LastApplied({kind: entries for kind, entries in kept.items() if entries}).add(roots)


def read_last_applied(project: str) -> ApiCall[LastApplied]:
    """The latest record of a project; an empty one if there is none."""
    answer = yield from _latest(project)
    return _decode(answer["data"], project) if answer else LastApplied()


def write_last_applied(project: str, record: LastApplied) -> ApiCall[None]:
    """Adds a version of the record; after a lost response the latest one is checked first."""
    data = _encode(record)
    body = {
        "key": artifact_key(project),
        "type": "deployctl",
        "description": f"What deployctl manages for the project {project!r}.",
        "data": data,
    }
    subject = f"record of {project}"
    request = Request("POST", paths.ARTIFACTS, body, idempotent=False, subject=subject)
    try:
        yield [request]
    except LostResponse:
        latest = yield from _latest(project)
        if latest is None or latest["data"] != data:
            yield [request]


def artifact_key(project: str) -> str:
    """The artifact key of a project; the server accepts lower-case ASCII, digits and dashes.

    A name that has to be changed for that gets a hash of the original as suffix, so that `My ETL`
    and `my etl` have different keys.
    """
    plain = unicodedata.normalize("NFKD", project).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if slug != project:
        slug = f"{slug}-{hashlib.sha256(project.encode()).hexdigest()[:8]}".strip("-")
    return f"deployctl-{slug}"


def _latest(project: str) -> ApiCall[Json]:
    path, subject = paths.latest_artifact(artifact_key(project)), f"record of {project}"
    return (yield from call(Request("GET", path, subject=subject, missing_ok=True)))


def _root(kind: str, key: Key) -> tuple[str, Key]:
    """The root that a recorded resource is part of, or the resource itself if it is one."""
    parent = RESOURCE_KINDS[kind].parent if kind in RESOURCE_KINDS else ""
    return (parent, key[: RESOURCE_KINDS[parent].depth]) if parent else (kind, key)


def _declarations(resources: Iterable[Resource]) -> Iterable[tuple[str, Key, frozenset[str]]]:
    for resource in resources:
        names = frozenset(resource.fields) - resource.passive | resource.owned_kinds
        yield resource.kind, resource.key, names
        yield from _declarations(resource.children)


def _encode(record: LastApplied) -> Json:
    return {
        "format": _FORMAT,
        "items": {
            kind: [[list(key), sorted(names)] for key, names in sorted(entries.items())]
            for kind, entries in sorted(record.resources.items())
            if entries
        },
    }


def _decode(data: Json, project: str) -> LastApplied:
    if not isinstance(data, dict) or not isinstance(data.get("items"), dict):
        raise DeployctlError(
            f"the artifact '{artifact_key(project)}' is not a record of deployctl",
            help="Delete it, or choose another project name with --project.",
        )
    if data["format"] != _FORMAT:
        raise DeployctlError(
            f"the record of the project '{project}' was written by a newer deployctl",
            help="Upgrade deployctl.",
        )
    return LastApplied(
        {
            kind: {tuple(key): frozenset(names) for key, names in entries}
            for kind, entries in data["items"].items()
        }
    )
