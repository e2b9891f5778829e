"""What a project declared at its last apply, kept on the server so that any machine can continue.

The record names, for each resource, the fields that the file declared: names only, never values,
so it holds no secret. It is an artifact, one key per project; each write adds a version, and the
latest counts.

The API has no compare-and-swap, so two commands of one project may write versions that don't know
of each other. Each version names the one that it was made from, so a writer sees what it missed and
merges it, like git, before it goes on.

A field is recorded before it is first written and until after it was last reset, so that a deploy
killed at any point is completed by the next one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.paging import PAGE, pages
from deployctl.core.errors import DeployctlError, LostResponse
from deployctl.core.json_values import Json
from deployctl.deploy.artifacts import (
    KEY_PREFIX,
    artifact_key,
    deletion,
    read_artifacts,
    remove_old_artifacts,
)
from deployctl.deploy.model import Key, Resource
from deployctl.deploy.resources import RESOURCE_KINDS

_FORMAT = 1
_TYPE = "deployctl"
"""The type of the artifacts."""
_MERGE_TRIES = 20
"""How often a record is merged again because other commands write it at the same time."""
_HISTORY = 20
"""Versions that are kept and read for a merge: more than commands that run side by side write."""


@dataclass(frozen=True, slots=True)
class LastApplied:
    """Kind → key → declared fields, and kinds of children whose whole list was declared."""

    resources: Mapping[str, Mapping[Key, frozenset[str]]] = field(default_factory=dict)

    def declared(self, kind: str, key: Key) -> frozenset[str]:
        """What an earlier apply declared on this resource; empty if it declared none."""
        return self.resources.get(kind, {}).get(key, frozenset())

    def roots(self) -> list[tuple[str, Key]]:
        """Kind and key of each recorded resource that is no child of another."""
        return [
            (kind, key)
            for kind, entries in self.resources.items()
            if kind in RESOURCE_KINDS and not RESOURCE_KINDS[kind].parent
            for key in entries
        ]

    def parts(self) -> dict[tuple[str, Key], list[Resource]]:
        """Kind and key of a root → its recorded children, without fields: all that a read needs."""
        found: dict[tuple[str, Key], list[Resource]] = defaultdict(list)
        for kind, entries in self.resources.items():
            if kind in RESOURCE_KINDS and RESOURCE_KINDS[kind].parent:
                for key in entries:
                    found[root_of(kind, key)].append(Resource(kind, key, {}))
        return found

    def outlines(self) -> list[Resource]:
        """Each recorded root with its recorded children, without fields: all that a read needs.

        With roots that are not recorded and have children that are.
        """
        parts = self.parts()
        identities = dict.fromkeys([*self.roots(), *parts])
        return [Resource(*each, {}, tuple(parts.get(each, ()))) for each in identities]

    def add(self, desired: Iterable[Resource]) -> LastApplied:
        """The record with what `desired` declares added: to write before the first change."""
        declared: dict[str, dict[Key, frozenset[str]]] = {}
        for kind, key, names in _declarations(desired):
            entries = declared.setdefault(kind, {})
            entries[key] = entries.get(key, frozenset()) | names
        return self.merge(LastApplied(declared))

    def replace(self, applied: Iterable[Resource]) -> LastApplied:
        """The record with exactly what the applied roots declare, for them and their children.

        Children that stay on the server stay in the record, too.
        """
        roots = tuple(applied)
        replaced = {(root.kind, root.key) for root in roots}
        declared = {(kind, key) for kind, key, _ in _declarations(roots)}
        kept = {
            kind: {
                key: names
                for key, names in entries.items()
                if root_of(kind, key) not in replaced
                or (_stays(kind) and (kind, key) not in declared)
            }
            for kind, entries in self.resources.items()
        }
        return LastApplied({kind: entries for kind, entries in kept.items() if entries}).add(roots)

    def without(self, removed: AbstractSet[tuple[str, Key]]) -> LastApplied:
        """The record without these resources (kind and key), and without what is part of them.

        A rename from one of them is complete.
        """
        left = self._filtered(lambda kind, key: not removed & {(kind, key), root_of(kind, key)})
        markers = {rename_marker(key) for kind, key in removed if kind == "deployment"}
        return LastApplied(
            {
                kind: {key: names - markers for key, names in entries.items()}
                for kind, entries in left.resources.items()
            }
        )

    def only(self, kept: AbstractSet[tuple[str, Key]]) -> LastApplied:
        """The record of these resources (kind and key), and of what is part of them."""
        return self._filtered(lambda kind, key: bool(kept & {(kind, key), root_of(kind, key)}))

    def merge(self, other: LastApplied) -> LastApplied:
        """The record with everything that another one declares added."""
        merged = {kind: dict(entries) for kind, entries in self.resources.items()}
        for kind, entries in other.resources.items():
            own = merged.setdefault(kind, {})
            for key, names in entries.items():
                own[key] = own.get(key, frozenset()) | names
        return LastApplied(merged)

    def has(self, kind: str, key: Key) -> bool:
        """Whether the resource is recorded."""
        return key in self.resources.get(kind, {})

    @property
    def everything(self) -> set[tuple[str, Key]]:
        """Kind and key of each recorded resource, parts of others included."""
        return {(kind, key) for kind, entries in self.resources.items() for key in entries}

    def _filtered(self, keeps: Callable[[str, Key], bool]) -> LastApplied:
        kept = {
            kind: {key: names for key, names in entries.items() if keeps(kind, key)}
            for kind, entries in self.resources.items()
        }
        return LastApplied({kind: entries for kind, entries in kept.items() if entries})


def read_last_applied(project: str) -> ApiCall[LastApplied]:
    """The latest record of a project; an empty one if there is none."""
    answer = yield from _latest(project)
    return _decode(_checked(answer["data"], project)) if answer else LastApplied()


def read_other_records(project: str) -> ApiCall[dict[str, LastApplied]]:
    """The latest records of all other projects of the server, by project.

    Records that cannot be read, because a newer deployctl wrote them, are left out.
    """
    filters = {"artifacts": {"type": {"any_": [_TYPE]}}}
    found = yield from pages(f"{paths.ARTIFACTS}latest/", filters, 1)
    records = {}
    for each in found:
        data = each["data"]
        if each["key"] == artifact_key(project) or not isinstance(data, dict):
            continue
        if data.get("format") == _FORMAT:
            name = data.get("project") or each["key"].removeprefix(KEY_PREFIX)
            records[name] = _decode(data)
    return records


def update_last_applied(
    project: str, change: Callable[[LastApplied], LastApplied]
) -> ApiCall[LastApplied]:
    """Applies a change to the record and returns what was written.

    Versions that other commands write at the same time are merged with it. `change` may be applied
    more than once.
    """
    written = ""
    for _ in range(_MERGE_TRIES):
        history = yield from _read_versions(project, written)
        record = change(_merged(history))
        latest = history[-1] if history else _Version("", None, LastApplied())
        if record == latest.record:
            break
        written = yield from _write(project, record, latest.id)
    return record


def remove_old_versions(project: str) -> ApiCall[None]:
    """Deletes versions that no merge reads any more; see `remove_old_artifacts`."""
    return remove_old_artifacts(artifact_key(project), _about(project), _HISTORY)


def delete_record(project: str) -> ApiCall[bool]:
    """Deletes all versions of the record, the newest one last; whether there were any.

    If that is interrupted, the latest version stays the latest.
    """
    is_there = False
    while found := (yield from _read_artifacts(project, PAGE)):
        is_there = True
        yield [deletion(each, _about(project)) for each in found[1:] or found]
    return is_there


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of the record."""

    id: str
    base: str | None
    """The id of the version that it was made from, "" for none; None if it doesn't say."""
    record: LastApplied


def _write(project: str, record: LastApplied, base: str) -> ApiCall[str]:
    """Adds a version and returns its id; after a lost response the latest one is checked first."""
    data = {**_encode(record), "project": project, "base": base}
    body = {
        "key": artifact_key(project),
        "type": _TYPE,
        "description": f"What deployctl manages for the project {project!r}.",
        "data": data,
    }
    request = Request("POST", paths.ARTIFACTS, body, idempotent=False, subject=_about(project))
    try:
        return str((yield from call(request))["id"])
    except LostResponse:
        # The answer for the latest artifact has another id than its version.
        newest = yield from _read_artifacts(project, 1)
        if not newest or newest[0]["data"] != data:
            newest = [(yield from call(request))]
        return str(newest[0]["id"])


def _latest(project: str) -> ApiCall[Json]:
    path = paths.latest_artifact(artifact_key(project))
    return (yield from call(Request("GET", path, subject=_about(project), missing_ok=True)))


def _read_versions(project: str, written: str) -> ApiCall[list[_Version]]:
    """The newest versions, oldest first: two, or more if these need a merge.

    `written` is the id of a version that must be among them.
    """
    versions = yield from _read_newest(project, 2)
    is_linear = len(versions) < 2 or versions[1].base in (None, versions[0].id)
    if is_linear and written in ("", *(each.id for each in versions)):
        return versions
    return (yield from _read_newest(project, _HISTORY))


def _read_artifacts(project: str, limit: int) -> ApiCall[list[Json]]:
    """Versions as the server has them, newest first."""
    return read_artifacts(artifact_key(project), _about(project), limit)


def _about(project: str) -> str:
    return f"record of {project}"


def _read_newest(project: str, limit: int) -> ApiCall[list[_Version]]:
    answers = yield from _read_artifacts(project, limit)
    return [
        _Version(answer["id"], data.get("base"), _decode(data))
        for answer in reversed(answers)
        for data in [_checked(answer["data"], project)]
    ]


def _merged(history: Sequence[_Version]) -> LastApplied:
    """The record after all versions, oldest first.

    A version that was not made from the one before it misses what that one changed.
    """
    states = {"": LastApplied()}
    previous = ""
    for version in history:
        state = version.record
        if version.base != previous and version.base in states and previous:
            state = _merge(states[version.base], states[previous], version.record)
        states[version.id] = state
        previous = version.id
    return states[previous]


def _merge(base: LastApplied, one: LastApplied, other: LastApplied) -> LastApplied:
    """Three-way merge: what one side added or removed since `base` is added or removed."""
    before, left, right = (_flat(record) for record in (base, one, other))
    kept = (left & right) | (left - before) | (right - before)
    merged: dict[str, dict[Key, frozenset[str]]] = {}
    for kind, key, name in kept:
        entries = merged.setdefault(kind, {})
        entries[key] = entries.get(key, frozenset()) | {name}
    return LastApplied(
        {
            kind: {key: names - {""} for key, names in entries.items()}
            for kind, entries in merged.items()
        }
    )


def _flat(record: LastApplied) -> set[tuple[str, Key, str]]:
    """All recorded names; "" stands for the resource itself."""
    return {
        (kind, key, name)
        for kind, entries in record.resources.items()
        for key, names in entries.items()
        for name in (*names, "")
    }


def rename_marker(old: Key) -> str:
    """What the record has among the fields of a deployment that was renamed from another one."""
    return f"renamed_from {'/'.join(old)}"


def root_of(kind: str, key: Key) -> tuple[str, Key]:
    """The root that a recorded resource is part of, or the resource itself if it is one."""
    parent = RESOURCE_KINDS[kind].parent if kind in RESOURCE_KINDS else ""
    return (parent, key[: RESOURCE_KINDS[parent].depth]) if parent else (kind, key)


def _stays(kind: str) -> bool:
    return kind in RESOURCE_KINDS and RESOURCE_KINDS[kind].stays


def _declarations(resources: Iterable[Resource]) -> Iterable[tuple[str, Key, frozenset[str]]]:
    for resource in resources:
        names = frozenset(resource.fields) - resource.passive | resource.owned_kinds
        if resource.renamed_from:
            names |= {rename_marker(resource.renamed_from)}
        yield resource.kind, resource.key, names
        yield from _declarations(each for each in resource.children if not each.is_passive)


def _encode(record: LastApplied) -> Json:
    return {
        "format": _FORMAT,
        "items": {
            kind: [[list(key), sorted(names)] for key, names in sorted(entries.items())]
            for kind, entries in sorted(record.resources.items())
            if entries
        },
    }


def _checked(data: Json, project: str) -> dict[str, Json]:
    """The data of a record. Raises DeployctlError if it is something else, or newer."""
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
    return data


def _decode(data: Json) -> LastApplied:
    return LastApplied(
        {
            kind: {tuple(key): frozenset(names) for key, names in entries}
            for kind, entries in data["items"].items()
        }
    )
