"""The words of the engine as values: items, rules, changes, results.

An item is one object as the file wants it or as the server has it, in the same shape, so that
comparing two items is all there is to planning. Objects that live inside another (a deployment's
schedules) are its children and are planned and written with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json

Key: TypeAlias = tuple[str, ...]
"""What tells an object from its siblings: `("hello", "daily")` for a deployment of a flow."""


class Op(StrEnum):
    """What has to happen to an object."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Resource:
    """An object, wanted or live. A field that is absent is not ours; None means "empty"."""

    kind: str
    key: Key
    fields: Mapping[str, Json]
    children: tuple[Resource, ...] = ()
    owned_kinds: frozenset[str] = frozenset()
    """Kinds of children of which `children` is the whole list: live ones beyond it are removed."""
    passive: frozenset[str] = frozenset()
    """Fields that go along with other changes but are never a reason for one."""
    id: str = ""
    """The server's id; empty on wanted items."""
    raw: Json = None
    """The server's whole answer, for upserts that must repeat what they do not change."""

    @property
    def name(self) -> str:
        """The key as people write it: `hello/daily`."""
        return "/".join(self.key)


def _equal(want: Json, have: Json) -> bool:
    return bool(want == have)


@dataclass(frozen=True, slots=True)
class Rule:
    """How one field of a kind behaves."""

    same: Callable[[Json, Json], bool] = _equal
    """Whether the wanted and the live value mean the same."""
    default: Json = None
    """What the field goes back to when the file no longer declares it: what a create gives it."""
    clears: bool = True
    """Whether the API can empty the field on an existing object."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that a change gives another value."""

    field: str
    old: Json
    new: Json


@dataclass(frozen=True, slots=True)
class Change:
    """What has to be done to make one object as wanted, with what that means for its children."""

    kind: str
    key: Key
    op: Op
    desired: Resource | None = None
    current: Resource | None = None
    fields: tuple[FieldChange, ...] = ()
    children: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    """What the user should know: side effects of the write, what the API cannot do."""

    @property
    def name(self) -> str:
        """The key as people write it."""
        return "/".join(self.key)

    @property
    def is_needed(self) -> bool:
        """Whether anything has to be written, to this object or to a child."""
        return self.op is not Op.NONE or any(child.is_needed for child in self.children)

    @property
    def effective_op(self) -> Op:
        """The operation to tell a user: a deployment whose schedule changes is an update."""
        return Op.UPDATE if self.op is Op.NONE and self.is_needed else self.op


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes of one command, roots only, in the order in which they will be written."""

    changes: tuple[Change, ...]

    @property
    def needed(self) -> tuple[Change, ...]:
        """The changes that write something."""
        return tuple(change for change in self.changes if change.is_needed)

    def count(self, op: Op) -> int:
        """How many roots have this operation, as a user sees it."""
        return sum(change.effective_op is op for change in self.changes)


class ResultStatus(StrEnum):
    """What became of a change."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one root change."""

    change: Change
    status: ResultStatus
    error: DeployctlError | None = None
    reason: str = ""
    """Why it was skipped."""
    done: tuple[str, ...] = field(default=())
    """The writes that were carried out before a failure, as sentences."""

    @property
    def identity(self) -> tuple[str, Key, ResultStatus]:
        """What it is about and how it ended."""
        return (self.change.kind, self.change.key, self.status)
