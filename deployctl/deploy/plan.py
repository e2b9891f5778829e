"""The difference between what is wanted and what is there. Pure.

Three-way, as `kubectl apply` does it: a field that the file declares is ours; a field that an
earlier apply declared (`Declared`) and the file no longer does goes back to what a create would
give it; a field that was never declared belongs to whoever set it. What only a step will know
counts as a change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from deployctl.api.dialect import Dialect
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, FieldChange, Key, Op, Plan, Resource
from deployctl.deploy.resources import RESOURCE_KINDS
from deployctl.deploy.resources.base import ResourceKind
from deployctl.templating.values import contains_unknown

DeclaredFields: TypeAlias = Callable[[str, Key], frozenset[str]]
"""(kind, key) → the fields that an earlier apply of this project declared on that object."""


def plan(
    wanted: Iterable[Resource], live: Iterable[Resource], declared: DeclaredFields, dialect: Dialect
) -> Plan:
    """Compares wanted roots with live roots; live roots that nobody wants are left alone."""
    have = {(item.kind, item.key): item for item in live}
    changes = [compare(want, have.get((want.kind, want.key)), declared, dialect) for want in wanted]
    return Plan(tuple(sorted(changes, key=lambda change: RESOURCE_KINDS[change.kind].rank)))


def compare(
    want: Resource, have: Resource | None, declared: DeclaredFields, dialect: Dialect
) -> Change:
    """The change that makes `have` (None: not there) what `want` says, children included."""
    kind = RESOURCE_KINDS[want.kind]
    children = tuple(_children(want, have, declared, dialect))
    if have is None:
        fields = tuple(FieldChange(name, None, value) for name, value in want.fields.items())
        change = Change(want.kind, want.key, Op.CREATE, want, None, fields, children)
    else:
        changed, notes = _changed_fields(kind, want, have, declared, dialect)
        op = Op.UPDATE if any(c.field not in want.passive for c in changed) else Op.NONE
        fields = changed if op is Op.UPDATE else ()
        change = Change(want.kind, want.key, op, want, have, fields, children, notes)
    return kind.annotate(change, dialect)


def reset_fields(
    want: Resource, have: Resource, declared: DeclaredFields, dialect: Dialect
) -> dict[str, Json]:
    """Fields an earlier apply declared and the file no longer does, with their defaults."""
    rules = RESOURCE_KINDS[want.kind].rules(dialect)
    gone = declared(want.kind, have.key) - want.fields.keys()
    return {name: rules[name].default for name in sorted(gone) if name in rules}


def _changed_fields(
    kind: ResourceKind, want: Resource, have: Resource, declared: DeclaredFields, dialect: Dialect
) -> tuple[tuple[FieldChange, ...], tuple[str, ...]]:
    rules = kind.rules(dialect)
    changes, notes = [], []
    ours = {**want.fields, **reset_fields(want, have, declared, dialect)}
    for name, value in ours.items():
        rule, old = rules[name], have.fields.get(name)
        if not contains_unknown(value) and rule.same(value, old):
            continue
        if not value and value is not False and not rule.clears:
            notes.append(f"{name} cannot be cleared through this server's API and stays as it is")
        else:
            changes.append(FieldChange(name, old, value))
    return tuple(changes), tuple(notes)


def _children(
    want: Resource, have: Resource | None, declared: DeclaredFields, dialect: Dialect
) -> Iterator[Change]:
    wanted: Mapping[str, list[Resource]] = _by_kind(want.children)
    live: Mapping[str, list[Resource]] = _by_kind(have.children if have else ())
    owned = want.owned_kinds | (declared(want.kind, want.key) if have else frozenset())
    for name in sorted({*wanted, *live}, key=lambda name: RESOURCE_KINDS[name].rank):
        pairs = RESOURCE_KINDS[name].pair(wanted.get(name, []), live.get(name, []))
        for child, present in pairs:
            if child is not None:
                yield compare(child, present, declared, dialect)
            elif present is not None and name in owned:
                yield Change(name, present.key, Op.DELETE, None, present)


def _by_kind(items: Iterable[Resource]) -> dict[str, list[Resource]]:
    groups: dict[str, list[Resource]] = {}
    for item in items:
        groups.setdefault(item.kind, []).append(item)
    return groups
