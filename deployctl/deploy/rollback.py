"""What has to be on the server so that it is as it was before some revisions. Pure.

Fields that the revisions did not change keep their current values, also those that were changed in
the UI since. So does a masked value: a revision holds no secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from deployctl.api.dialect import Dialect
from deployctl.core.json_values import Json
from deployctl.core.redact import MASK
from deployctl.deploy.history import Part, RecordedChange, Revision
from deployctl.deploy.last_applied import LastApplied, root_of
from deployctl.deploy.model import Key, Op, Resource
from deployctl.deploy.resources import RESOURCE_KINDS
from deployctl.project.resources import managed_fields

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Earlier:
    """The state of a project before some revisions, as far as it can be brought back."""

    desired: tuple[Resource, ...]
    """What has to exist, roots only."""
    deleted: tuple[Resource, ...]
    """What didn't exist, with the automations of deployments."""
    lost: tuple[str, ...]
    """What cannot go back, as sentences."""


@dataclass(frozen=True, slots=True)
class _State:
    """A resource before the revisions."""

    existed: bool = True
    is_whole: bool = False
    """Whether all its fields are known."""
    fields: Mapping[str, Json] = field(default_factory=dict)
    parts: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)


def earlier(
    revisions: Iterable[Revision],
    current: Sequence[Resource],
    record: LastApplied,
    dialect: Dialect,
) -> Earlier:
    """The state before these revisions, newest first.

    `current` and `record` are what the server and the project have now.
    """
    states = _states(revisions)
    present = {(root.kind, root.key): root for root in current}
    desired: dict[tuple[str, Key], Resource] = {}
    deleted: list[Resource] = []
    lost: list[str] = []
    for (kind, key), state in states.items():
        there, title = present.get((kind, key)), f"{kind.replace('_', ' ')} {'/'.join(key)}"
        if RESOURCE_KINDS[kind].parent:
            continue
        if not state.existed:
            deleted += [there, *_automations(there)] if there else []
        elif RESOURCE_KINDS[kind].hides_values:
            lost.append(f"{title} keeps its values" if there else f"{title} is not restored")
        elif there is None and not state.is_whole:
            lost.append(f"{title} was changed, and is gone by now")
        else:
            desired[kind, key] = _restored(state, Resource(kind, key, {}), there, record)
            lost += _kept_secrets(title, state, there)
    for (kind, key), state in states.items():
        parent = root_of(kind, key)
        if RESOURCE_KINDS[kind].parent and state.existed and state.is_whole:
            there = present.get(parent)
            if parent not in desired and there is None:
                lost.append(f"{kind.replace('_', ' ')} {'/'.join(key)} was part of what is gone")
                continue
            base = desired.get(parent) or _restored(_State(), Resource(*parent, {}), there, record)
            part = Resource(kind, key, _given(state.fields, {}))
            desired[parent] = replace(base, children=(*base.children, part))
    known = tuple(_known(each, dialect) for each in desired.values())
    return Earlier(known, tuple(deleted), tuple(lost))


def _known(resource: Resource, dialect: Dialect) -> Resource:
    """The resource with the fields that this server has; it may be older than a revision."""
    names = managed_fields(resource.kind, dialect)
    fields = {name: value for name, value in resource.fields.items() if name in names}
    children = tuple(_known(child, dialect) for child in resource.children)
    return replace(resource, fields=fields, children=children)


def _states(revisions: Iterable[Revision]) -> dict[tuple[str, Key], _State]:
    states: dict[tuple[str, Key], _State] = {}
    for revision in revisions:
        for change in revision.changes:
            identity = (change.kind, change.key)
            states[identity] = _before(change, states.get(identity, _State()))
    return states


def _before(change: RecordedChange, after: _State) -> _State:
    """The state of a resource before a change, from that after it."""
    fields = {name: old for name, (old, _) in change.fields.items()}
    if change.op is Op.CREATE:
        return _State(existed=False)
    if change.op is Op.DELETE:
        return _State(is_whole=bool(fields), fields=fields, parts=change.parts)
    return replace(after, fields={**after.fields, **fields}, parts={**after.parts, **change.parts})


def _restored(
    state: _State, resource: Resource, there: Resource | None, record: LastApplied
) -> Resource:
    """The desired resource: what the project declares with current values, and what goes back."""
    kind, key = resource.kind, resource.key
    declared = record.declared(kind, key)
    current = there.fields if there else {}
    kept = {name: current[name] for name in declared if name in current}
    own_kinds = declared & RESOURCE_KINDS.keys()
    children = [
        Resource(child.kind, child.key, _declared_fields(child, record))
        for child in (there.children if there else ())
        if child.kind not in state.parts
        and (child.kind in own_kinds or (child.kind, child.key) in record.everything)
    ]
    children += [
        Resource(part_kind, part_key, _given(fields, _part(there, part_kind, part_key)))
        for part_kind, parts in state.parts.items()
        for part_key, fields in parts
    ]
    whole = {name for name in state.parts if not RESOURCE_KINDS[name].stays}
    return replace(
        resource,
        fields={**kept, **_unmasked_fields(state, current)},
        children=tuple(children),
        owned_kinds=frozenset(own_kinds | whole),
    )


def _unmasked_fields(state: _State, current: Mapping[str, Json]) -> dict[str, Json]:
    if state.is_whole and not current:
        return _given(state.fields, {})
    found = {name: _unmasked(value, current.get(name)) for name, value in state.fields.items()}
    return {name: value for name, value in found.items() if value is not _ABSENT}


def _given(fields: Mapping[str, Json], current: Mapping[str, Json]) -> dict[str, Json]:
    """The fields that have a value."""
    found = {name: _unmasked(value, current.get(name)) for name, value in fields.items()}
    return {name: value for name, value in found.items() if value not in (None, _ABSENT)}


def _unmasked(value: Json, current: Json) -> Json:
    """A recorded value with the current one wherever it is masked; _ABSENT if there is none."""
    if isinstance(value, str) and MASK in value:
        return _ABSENT if current is None else current
    if isinstance(value, dict):
        known = current if isinstance(current, dict) else {}
        parts = {key: _unmasked(item, known.get(key)) for key, item in value.items()}
        return {key: item for key, item in parts.items() if item is not _ABSENT}
    if isinstance(value, list):
        known_items = current if isinstance(current, list) else []
        same = len(known_items) == len(value)
        items = [
            _unmasked(item, known_items[at] if same else None) for at, item in enumerate(value)
        ]
        return (
            current
            if any(item is _ABSENT for item in items) and known_items
            else [item for item in items if item is not _ABSENT]
        )
    return value


def _kept_secrets(title: str, state: _State, there: Resource | None) -> list[str]:
    masked = sorted(name for name, value in state.fields.items() if _has_mask(value))
    masked += sorted(kind for kind, parts in state.parts.items() if _has_mask(dict(parts)))
    keeps = "keep their current values" if there else "are not restored"
    return [f"secrets in {', '.join(masked)} of {title} {keeps}"] if masked else []


def _has_mask(value: Json) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_mask, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_mask, value))
    return isinstance(value, str) and MASK in value


def _declared_fields(child: Resource, record: LastApplied) -> dict[str, Json]:
    """The declared fields of a part that is there; all of one that is not recorded."""
    names = record.declared(child.kind, child.key) | {"schedule"}
    is_recorded = (child.kind, child.key) in record.everything
    return {name: value for name, value in child.fields.items() if name in names or not is_recorded}


def _part(there: Resource | None, kind: str, key: Key) -> Mapping[str, Json]:
    parts = there.children if there else ()
    return next((each.fields for each in parts if (each.kind, each.key) == (kind, key)), {})


def _automations(there: Resource) -> list[Resource]:
    return [child for child in there.children if child.kind == "automation"]
