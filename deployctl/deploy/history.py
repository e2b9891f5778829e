"""The revisions of a project: what each command changed on the server, and what was there before.

A revision is an artifact, as the last-applied record is, under a key of its own. It holds the old
and new values of fields that changed, and all of what was deleted; of what was created only the
name. Values that are secrets by their name or form are masked. The newest revisions are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request
from deployctl.api.paging import PAGE
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json, canonical_json
from deployctl.core.redact import MASK, contains_credential, mask_secrets
from deployctl.deploy.artifacts import (
    artifact_key,
    deletion,
    read_artifacts,
    remove_old_artifacts,
)
from deployctl.deploy.model import (
    Change,
    Key,
    Op,
    Resource,
    Result,
    ResultStatus,
    secret_names,
    title_of,
)

KEPT = 20
"""Revisions of a project that are kept."""
_MAX_LENGTH = 2_000_000
"""Characters of a revision; a longer one is stored without values."""
_FORMAT = 1
_TYPE = "deployctl-history"


class UnknownRevision(DeployctlError):
    """The project has no such revision."""

    code = "DC563"


@dataclass(frozen=True, slots=True)
class RecordedChange:
    """What was done to one resource."""

    kind: str
    key: Key
    op: Op
    fields: Mapping[str, tuple[Json, Json]] = field(default_factory=dict)
    """Field → (before, after): those that changed; of a deleted resource all, with after = None."""
    parts: tuple[RecordedChange, ...] = ()
    """What was done to its parts; with a deleted resource, all of them are."""

    @property
    def title(self) -> str:
        """Kind and key, as users write them: `work pool k8s`."""
        return title_of(self.kind, self.key)


@dataclass(frozen=True, slots=True)
class Revision:
    """What one command changed."""

    command: str
    author: str
    """Who ran it, and where: `ann@laptop`."""
    commit: str
    """The commit of the files; empty without git."""
    changes: tuple[RecordedChange, ...]
    has_values: bool = True
    """False if they were too large: then only kinds, keys and operations are recorded."""
    id: str = ""
    created: str = ""
    """Time of the server, in ISO 8601."""

    @property
    def short_id(self) -> str:
        """As users see and write it."""
        return self.id[:8]

    def concerns(self, name: str) -> bool:
        """Whether it changed a deployment of this name, NAME or FLOW/NAME."""
        return any(
            name in (each.key[-1], "/".join(each.key))
            for each in self.changes
            if each.kind == "deployment"
        )


def recorded_changes(results: Iterable[Result]) -> tuple[RecordedChange, ...]:
    """What was written, as a revision records it; also what a failure left half written."""
    return tuple(
        _recorded(each.change)
        for each in results
        if each.change.is_needed and (each.status is ResultStatus.APPLIED or each.done)
    )


def revision_request(project: str, revision: Revision) -> Request:
    """The request that adds a revision."""
    data = _encode(revision)
    if len(canonical_json(data)) > _MAX_LENGTH:
        data = _encode(_without_values(revision))
    body = {
        "key": history_key(project),
        "type": _TYPE,
        "description": f"What a command of deployctl changed in the project {project!r}.",
        "data": {**data, "project": project},
    }
    return Request("POST", paths.ARTIFACTS, body, subject=_about(project))


def remove_old_revisions(project: str) -> ApiCall[None]:
    """Deletes the revisions that are no longer kept; see `remove_old_artifacts`."""
    return remove_old_artifacts(history_key(project), _about(project), KEPT)


def delete_history(project: str) -> ApiCall[None]:
    """Deletes all revisions."""
    while found := (yield from read_artifacts(history_key(project), _about(project), PAGE)):
        yield [deletion(each, _about(project)) for each in found]


def read_revisions(project: str) -> ApiCall[list[Revision]]:
    """The revisions of a project, newest first.

    Those that a newer deployctl wrote in another form are left out.
    """
    found = yield from read_artifacts(history_key(project), _about(project), KEPT)
    return [
        _decode(each)
        for each in found
        if isinstance(each["data"], dict) and each["data"].get("format") == _FORMAT
    ]


def find_revision(project: str, revisions: Sequence[Revision], start: str) -> Revision:
    """The revision whose id starts with `start`. Raises UnknownRevision."""
    found = [each for each in revisions if start and each.id.startswith(start.lower())]
    if len(found) == 1:
        return found[0]
    problem = "is ambiguous" if found else "is not in the history"
    raise UnknownRevision(
        f"the revision '{start}' {problem} of the project '{project}'",
        help="`deployctl history` lists the revisions that are kept.",
    )


def history_key(project: str) -> str:
    """The artifact key of a project's revisions; no project's record has two dashes together."""
    return f"{artifact_key(project)}--history"


def _about(project: str) -> str:
    return f"history of {project}"


def _recorded(change: Change) -> RecordedChange:
    op, current = change.effective_op, change.current
    if op is Op.CREATE or current is None:
        return RecordedChange(change.kind, change.key, Op.CREATE)
    if op is Op.DELETE:
        return _deleted(current)
    fields = {
        part.field: (_safe(part.old, change, part.field), _safe(part.new, change, part.field))
        for part in change.fields
    }
    parts = tuple(_recorded(child) for child in change.children if child.is_needed)
    return RecordedChange(change.kind, change.key, op, fields, parts)


def _deleted(resource: Resource) -> RecordedChange:
    fields = {name: (_safe(value, resource, name), None) for name, value in resource.fields.items()}
    parts = tuple(map(_deleted, resource.children))
    return RecordedChange(resource.kind, resource.key, Op.DELETE, fields, parts)


def _safe(value: Json, owner: Change | Resource, field_name: str) -> Json:
    """A value without secrets; what JSON cannot hold becomes text."""
    return _masked(mask_secrets(value, *secret_names(owner), field_name))


def _masked(value: Json) -> Json:
    if isinstance(value, dict):
        return {str(key): _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if isinstance(value, str):
        return MASK if contains_credential(value) else value
    return value if isinstance(value, int | float | bool | None) else str(value)


def _without_values(revision: Revision) -> Revision:
    changes = tuple(RecordedChange(each.kind, each.key, each.op) for each in revision.changes)
    return Revision(revision.command, revision.author, revision.commit, changes, has_values=False)


def _encode(revision: Revision) -> dict[str, Json]:
    return {
        "format": _FORMAT,
        "command": revision.command,
        "author": revision.author,
        "commit": revision.commit,
        "has_values": revision.has_values,
        "changes": list(map(_encode_change, revision.changes)),
    }


def _encode_change(change: RecordedChange) -> dict[str, Json]:
    return {
        "kind": change.kind,
        "key": list(change.key),
        "op": change.op.value,
        "fields": {name: list(values) for name, values in change.fields.items()},
        "parts": list(map(_encode_change, change.parts)),
    }


def _decode(answer: Json) -> Revision:
    data = answer["data"]
    return Revision(
        data["command"],
        data["author"],
        data["commit"],
        tuple(map(_decode_change, data["changes"])),
        data["has_values"],
        answer["id"],
        answer["created"],
    )


def _decode_change(data: Json) -> RecordedChange:
    return RecordedChange(
        data["kind"],
        tuple(data["key"]),
        Op(data["op"]),
        {name: (before, after) for name, (before, after) in data["fields"].items()},
        tuple(map(_decode_change, data["parts"])),
    )
