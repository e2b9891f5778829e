"""The difference between desired and current resources. Pure.

Three-way, like `kubectl apply`: a field that the file declares is ours; a field that an earlier
apply declared (`DeclaredFields`) and the file now omits goes back to the default of a create; a
field that was never declared is left alone. A value that only a build step will know counts as a
change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from deployctl.api.dialect import Dialect
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, FieldChange, Key, Op, Plan, Resource
from deployctl.deploy.resources import RESOURCE_KINDS
from deployctl.deploy.resources.base import default_of
from deployctl.project.resources import managed_fields
from deployctl.templating.values import contains_unknown

DeclaredFields: TypeAlias = Callable[[str, Key], frozenset[str]]
"""(kind, key) → the fields that an earlier apply of this project declared on that resource."""

UNDECLARED = "undeclared"
"""The third text of a part of a plan that says what stays undeclared."""
NO_LONGER_DECLARED = "no longer declared, so it goes back to the default (DC521)"
"""The reason of a field that an earlier apply declared and the file now omits."""


def plan(
    desired: Iterable[Resource],
    current: Iterable[Resource],
    declared: DeclaredFields,
    dialect: Dialect,
) -> Plan:
    """Compares desired roots with current ones; current roots that none desires are left alone."""
    existing = {(root.kind, root.key): root for root in current}
    changes = [
        compare(root, existing.get((root.kind, root.key)), declared, dialect) for root in desired
    ]
    return Plan(tuple(sorted(changes, key=lambda change: RESOURCE_KINDS[change.kind].rank)))


def compare(
    desired: Resource, current: Resource | None, declared: DeclaredFields, dialect: Dialect
) -> Change:
    """The change that turns `current` (None: it doesn't exist) into `desired`, with children."""
    kind, key = desired.kind, desired.key
    children = tuple(_children(desired, current, declared, dialect))
    if current is None:
        fields = tuple(FieldChange(name, None, value) for name, value in desired.fields.items())
        change = Change(kind, key, Op.CREATE, desired, None, fields, children)
    else:
        changed, notes = _changed_fields(desired, current, declared, dialect)
        op = Op.UPDATE if any(c.field not in desired.passive for c in changed) else Op.NONE
        fields = changed if op is Op.UPDATE else ()
        change = Change(kind, key, op, desired, current, fields, children, notes)
    return RESOURCE_KINDS[kind].annotate(change, dialect)


def parts_of(plan: Plan) -> set[tuple[str, ...]]:
    """What a plan writes and leaves undeclared, as texts with all values, secrets included.

    Each part starts with kind and name of its root. Two plans with the same parts do the same.
    """
    parts: set[tuple[str, ...]] = {(root.kind, root.name, UNDECLARED) for root in plan.undeclared}
    for root in plan.needed:
        for change in (root, *root.children):
            parts |= {(root.kind, root.name, *detail) for detail in _details(change)}
    return parts


def _details(change: Change) -> Iterator[tuple[str, ...]]:
    if change.op is not Op.NONE:
        yield (change.kind, change.name, change.op)
    for field in change.fields:
        yield (change.kind, change.name, field.field, *map(_text, (field.old, field.new)))
    if RESOURCE_KINDS[change.kind].hides_values and change.desired and change.op is not Op.NONE:
        yield (change.kind, change.name, "values", _text(change.desired.raw))


def _text(value: Json) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _reset_fields(
    desired: Resource, current: Resource, declared: DeclaredFields, dialect: Dialect
) -> dict[str, Json]:
    """Fields that an earlier apply declared and the file now omits, with their defaults."""
    known = managed_fields(desired.kind, dialect)
    omitted = declared(desired.kind, current.key) - desired.fields.keys()
    return {name: default_of(known[name], dialect) for name in sorted(omitted) if name in known}


def _changed_fields(
    desired: Resource, current: Resource, declared: DeclaredFields, dialect: Dialect
) -> tuple[tuple[FieldChange, ...], tuple[str, ...]]:
    known = managed_fields(desired.kind, dialect)
    changes, notes = [], []
    reset = _reset_fields(desired, current, declared, dialect)
    for name, value in {**desired.fields, **reset}.items():
        field, old = known[name], current.fields.get(name)
        if not contains_unknown(value) and field.same(value, old):
            continue
        is_empty = not value and value is not False
        if is_empty and not field.clears.includes(dialect.version):
            notes.append(f"{name} cannot be cleared through this server's API and stays as it is")
        else:
            changes.append(FieldChange(name, old, value, NO_LONGER_DECLARED * (name in reset)))
    return tuple(changes), tuple(notes)


def _children(
    desired: Resource, current: Resource | None, declared: DeclaredFields, dialect: Dialect
) -> Iterator[Change]:
    """The changes of the children: paired within each kind, in the order of the kinds' ranks."""
    by_kind = _by_kind(desired.children)
    existing = _by_kind(current.children if current else ())
    earlier = declared(desired.kind, desired.key) if current else frozenset()
    owned = (desired.owned_kinds | earlier) - desired.kept_kinds
    for name in sorted({*by_kind, *existing}, key=lambda name: RESOURCE_KINDS[name].rank):
        pairs = RESOURCE_KINDS[name].pair(by_kind.get(name, []), existing.get(name, []))
        for child, present in pairs:
            if child is not None:
                yield compare(child, present, declared, dialect)
            elif present is not None and name in owned:
                yield Change(name, present.key, Op.DELETE, None, present)


def _by_kind(resources: Iterable[Resource]) -> dict[str, list[Resource]]:
    groups: dict[str, list[Resource]] = {}
    for resource in resources:
        groups.setdefault(resource.kind, []).append(resource)
    return groups
