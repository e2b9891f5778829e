"""The values of the engine: resources, plans, changes, results.

A resource has the same form whether a file desires it or the server has it, so a plan is a
comparison of two resources. Resources that are part of another (a deployment's schedules) are its
children, and are planned and written with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json

Key: TypeAlias = tuple[str, ...]
"""What identifies a resource of its kind: `("hello", "daily")` for a deployment of a flow."""


class Op(StrEnum):
    """What has to be done to a resource."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    NONE = "none"


def kind_name(kind: str) -> str:
    """A kind of resource in words: `work pool`."""
    return kind.replace("_", " ")


def title_of(kind: str, key: Key) -> str:
    """Kind and key, as users write them: `work pool k8s`."""
    return f"{kind_name(kind)} {'/'.join(key)}"


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource, desired or current.

    An absent field is not declared, and not ours to change; None means "empty".
    """

    kind: str
    key: Key
    fields: Mapping[str, Json]
    children: tuple[Resource, ...] = ()
    owned_kinds: frozenset[str] = frozenset()
    """Kinds of which `children` is the whole list: current ones beyond it are deleted."""
    passive: frozenset[str] = frozenset()
    """Inferred fields: they are sent along with other changes but are never a reason for one."""
    id: str = ""
    """The server's id; empty on desired resources."""
    raw: Json = field(default=None, repr=False)
    """The server's whole answer, for upserts that must repeat what they don't change. Of a desired
    block, its values: they are compared and sent, and never shown or recorded."""
    kept_kinds: frozenset[str] = frozenset()
    """Kinds whose current children stay, also if an earlier apply declared them."""
    renamed_from: Key = ()
    """The key of the deployment that a desired one replaces, as long as that is on the server."""

    @property
    def name(self) -> str:
        """The key as users write it: `hello/daily`."""
        return "/".join(self.key)

    @property
    def is_passive(self) -> bool:
        """Whether nothing about it is declared, although it is desired."""
        return bool(self.passive) and self.passive.issuperset(self.fields)


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field whose value changes."""

    field: str
    old: Json
    new: Json
    reason: str = ""
    """Why it changes although the file doesn't say so; empty if the file does."""


@dataclass(frozen=True, slots=True)
class Change:
    """What has to be done so that one resource and its children are as desired."""

    kind: str
    key: Key
    op: Op
    desired: Resource | None = None
    current: Resource | None = None
    fields: tuple[FieldChange, ...] = ()
    children: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    """For the user: side effects of the write, and what the API can't do."""
    renamed_from: Key = ()
    """The deployment that a created one replaces."""
    renamed_to: Key = ()
    """The deployment that replaces a deleted one."""

    @property
    def name(self) -> str:
        """The key as users write it."""
        return "/".join(self.key)

    @property
    def title(self) -> str:
        """Kind and key, as users write them: `work pool k8s`."""
        return title_of(self.kind, self.key)

    @property
    def is_needed(self) -> bool:
        """Whether anything has to be written, to this resource or to a child."""
        return self.op is not Op.NONE or any(child.is_needed for child in self.children)

    @property
    def effective_op(self) -> Op:
        """The operation to show: a deployment whose schedule changes is an update."""
        return Op.UPDATE if self.op is Op.NONE and self.is_needed else self.op


def secret_names(owner: Change | Resource) -> tuple[str, ...]:
    """Names besides those of its fields that tell whether values of a resource are secret.

    A variable is one value, which only the variable's name tells about.
    """
    return owner.key if owner.kind == "variable" else ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes of one command: roots only, in the order in which they are written; deletes of
    what is no longer declared come last."""

    changes: tuple[Change, ...]
    undeclared: tuple[Resource, ...] = ()
    """Current resources that the project deployed earlier and no longer declares; they stay."""
    forgotten: frozenset[tuple[str, Key]] = frozenset()
    """Resources that leave the record, though this plan deletes none of them (`--prune`)."""

    @property
    def needed(self) -> tuple[Change, ...]:
        """The changes that write something."""
        return tuple(change for change in self.changes if change.is_needed)

    @property
    def deletes(self) -> tuple[Change, ...]:
        """The changes that delete a root."""
        return tuple(change for change in self.changes if change.op is Op.DELETE)

    def without_deletes(self) -> Plan:
        """The part that creates and updates: it is applied first."""
        return Plan(tuple(change for change in self.changes if change.op is not Op.DELETE))

    def only_deletes(self) -> Plan:
        """The part that deletes roots, and drops resources from the record."""
        return Plan(self.deletes, (), self.forgotten)

    def count(self, op: Op) -> int:
        """How many roots have this operation, children counted as `effective_op` does."""
        return sum(change.effective_op is op for change in self.changes)

    def count_children(self, op: Op) -> dict[str, int]:
        """Kind → how many children of updated resources have this operation."""
        counts: dict[str, int] = {}
        for change in self.changes:
            if change.effective_op is Op.UPDATE:
                for child in change.children:
                    if child.op is op:
                        counts[child.kind] = counts.get(child.kind, 0) + 1
        return counts


class ResultStatus(StrEnum):
    """How the apply of a change ended."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one root change."""

    change: Change
    status: ResultStatus
    error: DeployctlError | None = None
    reason: str = ""
    """Why it was skipped."""
    done: tuple[str, ...] = field(default=())
    """The writes that were completed before a failure, as sentences."""

    @property
    def is_written(self) -> bool:
        """Whether the server is as desired."""
        return self.status in (ResultStatus.APPLIED, ResultStatus.UNCHANGED)

    @property
    def identity(self) -> tuple[str, Key, ResultStatus]:
        """The resource, and how its change ended."""
        return (self.change.kind, self.change.key, self.status)
