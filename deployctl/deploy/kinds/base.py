"""What a kind of object must know, so that plan, apply and records are written once for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from deployctl.api.dialect import Dialect
from deployctl.api.talk import Request, Talk
from deployctl.core.values import Json
from deployctl.deploy.model import Change, Item, Rule

Pair: TypeAlias = tuple[Item | None, Item | None]
"""(wanted, live): who answers to whom; at most one side is None."""

PAGE = 200
"""What the server gives at most for one filter request; more is answered with 422."""


class Kind:
    """One kind of object on the server. Subclasses say how it is compared, read and written.

    Everything here is pure: requests are yielded, never sent.
    """

    name: str
    """Singular, as in `Item.kind`."""
    rank: int
    """Kinds of lower rank are written first."""
    parent: str = ""
    """The kind of object that this one lives in; empty for roots."""

    def rules(self, dialect: Dialect) -> Mapping[str, Rule]:
        """The fields that this server knows, and how each behaves."""
        raise NotImplementedError

    def pair(self, wanted: Sequence[Item], live: Sequence[Item]) -> list[Pair]:
        """Matches the wanted children of a parent with its live ones: by key."""
        there = {item.key: item for item in live}
        pairs: list[Pair] = [(item, there.pop(item.key, None)) for item in wanted]
        return pairs + [(None, item) for item in there.values()]

    def annotate(self, change: Change, dialect: Dialect) -> Change:  # noqa: ARG002
        """Adds to a change what the user should know about it."""
        return change

    def read(self, wanted: Sequence[Item], dialect: Dialect) -> Talk[list[Item]]:
        """Reads the live objects that answer to roots, children included; only keys matter."""
        raise NotImplementedError

    def inline(self, change: Change, dialect: Dialect) -> frozenset[str]:  # noqa: ARG002
        """The kinds of children that are written by the same request as the object itself."""
        return frozenset()

    def write(self, change: Change, parent: str, dialect: Dialect) -> Talk[str]:
        """Carries out a change of this object (not of its children); gives the object's id.

        `parent` is the id of the object around it, "" for roots.
        """
        raise NotImplementedError


def pages(path: str, body: Json, expected: int) -> Talk[list[Json]]:
    """Reads a whole filter listing: the pages that `expected` objects fill at once, then on.

    Where a listing can be sorted, `body` should sort by time of creation: names may be equal, and
    equal rows may change places between pages.
    """
    found: list[Json] = []
    offset, width = 0, max(1, -(-expected // PAGE))
    while True:
        offsets = range(offset, offset + width * PAGE, PAGE)
        answers = yield [
            Request("POST", path, {**body, "limit": PAGE, "offset": start}) for start in offsets
        ]
        for answer in answers:
            found.extend(answer)
        if len(answers[-1]) < PAGE:
            return found
        offset, width = offset + width * PAGE, 1
