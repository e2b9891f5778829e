"""Carries a plan out, so that it can be stopped anywhere and done again.

The order is: put on record what is about to be declared; write the roots, rank by rank, each with
its children, side by side and each on its own; read back what was written, once; put on record
what is now declared. Everything is a talk: a test that stops the driver before or after any
request shows that the same command afterwards converges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from deployctl.api.dialect import Dialect
from deployctl.api.talk import Talk, together
from deployctl.core.errors import DeployctlError
from deployctl.deploy.kinds import KINDS
from deployctl.deploy.model import Change, Item, Key, Op, Plan, Result, Status
from deployctl.deploy.ownership import Record
from deployctl.deploy.plan import compare


@dataclass(slots=True)
class Unit:
    """One root change with its children: written in order, failing on its own."""

    change: Change
    done: list[str] = field(default_factory=list)
    """The writes that were carried out, as sentences."""

    def talk(self, dialect: Dialect) -> Talk[str]:
        """Writes the root, then the children that did not travel in its body."""
        kind = KINDS[self.change.kind]
        identity = self.change.have.id if self.change.have else ""
        if self.change.op is not Op.NONE:
            identity = yield from kind.write(self.change, "", dialect)
            self.done.append(sentence(self.change))
        inline = kind.inline(self.change, dialect)
        for child in self.change.children:
            if child.op is Op.NONE:
                continue
            if child.kind not in inline:
                yield from KINDS[child.kind].write(child, identity, dialect)
            self.done.append(sentence(child))
        return identity


def sentence(change: Change) -> str:
    """`schedule cron 0 7 * * * created`."""
    past = {Op.CREATE: "created", Op.UPDATE: "updated", Op.DELETE: "deleted", Op.NONE: "kept"}
    return f"{change.kind.replace('_', ' ')} {change.key[-1]} {past[change.op]}"


def read_live(wanted: Sequence[Item], dialect: Dialect) -> Talk[list[Item]]:
    """The live objects that answer to wanted roots, all kinds side by side."""
    kinds = {item.kind for item in wanted}
    found = yield from together(
        {
            kind: KINDS[kind].read([item for item in wanted if item.kind == kind], dialect)
            for kind in sorted(kinds)
        }
    )
    return [item for items in found.values() for item in items]


def verify(results: Sequence[Result], dialect: Dialect) -> Talk[list[Result]]:
    """Reads back what was applied; where it no longer is as wanted, somebody else wrote too."""
    applied = {
        (r.change.kind, r.change.key): r.change.want
        for r in results
        if r.status is Status.APPLIED and r.change.want
    }
    live = yield from read_live(list(applied.values()), dialect)
    have = {(item.kind, item.key): item for item in live}
    return [_checked(result, have, dialect) for result in results]


def _checked(result: Result, have: Mapping[tuple[str, Key], Item], dialect: Dialect) -> Result:
    want = result.change.want
    if result.status is not Status.APPLIED or want is None:
        return result
    again = compare(want, have.get((want.kind, want.key)), lambda *_: frozenset(), dialect)
    if not again.needed:
        return result
    names = ", ".join(
        sorted({part.field for part in again.fields} | {c.name for c in again.children if c.needed})
    )
    error = DeployctlError(
        f"was written, but is not as it was written any more: {names or 'it is gone'}",
        help="somebody else changed it at the same time; run the same command again",
    )
    return Result(result.change, Status.FAILED, error, done=result.done)


__all__ = ["Callable", "Plan", "Record", "Unit", "read_live", "sentence", "verify"]
