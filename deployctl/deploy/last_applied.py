"""What this project declared the last time, kept on the server so that any machine can go on.

A record names, for each object, the fields that the file declared: names only, never values, so
there is nothing secret in it. It is an artifact (the one place on every Prefect server that holds
megabytes under a key of one's own and is never tidied away), one key per project; each write adds
a version, the latest counts.

A field is on record before it is first written and until after it was last reset, so that a deploy
killed anywhere is completed by the next one.
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
    """Kind → key → declared fields (and kinds of children whose whole list was declared)."""

    items: Mapping[str, Mapping[Key, frozenset[str]]] = field(default_factory=dict)

    def declared(self, kind: str, key: Key) -> frozenset[str]:
        """What an earlier apply declared on this object; empty for an object not on record."""
        return self.items.get(kind, {}).get(key, frozenset())

    def below(self, kind: str, parent: Key) -> list[Key]:
        """The keys of the recorded children of this kind of an object."""
        return [key for key in self.items.get(kind, {}) if key[: len(parent)] == parent]

    def add(self, wanted: Iterable[Resource]) -> LastApplied:
        """This record with what `wanted` declares added: to write before the first change."""
        merged = {kind: dict(entries) for kind, entries in self.items.items()}
        for kind, key, names in _declarations(wanted):
            entries = merged.setdefault(kind, {})
            entries[key] = entries.get(key, frozenset()) | names
        return LastApplied(merged)

    def replace(self, applied: Iterable[Resource]) -> LastApplied:
        """This record with exactly what the applied roots declare, for them and all below them."""
        roots = tuple(applied)
        known = {(root.kind, root.key) for root in roots}
        kept = {
            kind: {key: names for key, names in entries.items() if _root(kind, key) not in known}
            for kind, entries in self.items.items()
        }
        return LastApplied({kind: entries for kind, entries in kept.items() if entries}).add(roots)


def read_last_applied(project: str) -> ApiCall[LastApplied]:
    """The latest record of a project; an empty one where there is none."""
    answer = yield from _latest(project)
    return _decode(answer["data"], project) if answer else LastApplied()


def write_last_applied(project: str, record: LastApplied) -> ApiCall[None]:
    """Adds a version of the record."""
    data = _encode(record)
    body = {
        "key": artifact_key(project),
        "type": "deployctl",
        "description": f"What deployctl manages for the project {project!r}.",
        "data": data,
    }
    request = Request(
        "POST", paths.ARTIFACTS, body, idempotent=False, subject=f"record of {project}"
    )
    try:
        yield [request]
    except LostResponse:
        latest = yield from _latest(project)
        if latest is None or latest["data"] != data:
            yield [request]


def artifact_key(project: str) -> str:
    """The artifact key of a project: lower-case ASCII letters, digits and dashes are allowed.

    A name that does not survive that as it is gets a suffix that tells it from its likes.
    """
    plain = unicodedata.normalize("NFKD", project).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if slug != project:
        slug = f"{slug}-{hashlib.sha256(project.encode()).hexdigest()[:8]}".strip("-")
    return f"deployctl-{slug}"


def _latest(project: str) -> ApiCall[Json]:
    path = paths.latest_artifact(artifact_key(project))
    about = f"record of {project}"
    return (yield from call(Request("GET", path, subject=about, missing_ok=True)))


def _root(kind: str, key: Key) -> tuple[str, Key]:
    """The root that an object on record lives in; it may be one itself."""
    parent = RESOURCE_KINDS[kind].parent if kind in RESOURCE_KINDS else ""
    return (parent, key[: RESOURCE_KINDS[parent].depth]) if parent else (kind, key)


def _declarations(items: Iterable[Resource]) -> Iterable[tuple[str, Key, frozenset[str]]]:
    for item in items:
        yield item.kind, item.key, frozenset(item.fields) - item.passive | item.owned_kinds
        yield from _declarations(item.children)


def _encode(record: LastApplied) -> Json:
    return {
        "format": _FORMAT,
        "items": {
            kind: [[list(key), sorted(names)] for key, names in sorted(entries.items())]
            for kind, entries in sorted(record.items.items())
            if entries
        },
    }


def _decode(data: Json, project: str) -> LastApplied:
    if not isinstance(data, dict) or not isinstance(data.get("items"), dict):
        raise DeployctlError(
            f"the artifact '{artifact_key(project)}' is not a record of deployctl",
            help="delete it, or choose another name with --project",
        )
    if data["format"] != _FORMAT:
        raise DeployctlError(
            "this project was deployed by a newer deployctl, whose records this one cannot read",
            help="upgrade deployctl",
        )
    return LastApplied(
        {
            kind: {tuple(key): frozenset(names) for key, names in entries}
            for kind, entries in data["items"].items()
        }
    )
