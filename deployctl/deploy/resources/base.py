"""What a kind of object must know, so that plan, apply and records are written once for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from deployctl.api.calls import ApiCall
from deployctl.api.dialect import Dialect
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, Resource, Rule

Pair: TypeAlias = tuple[Resource | None, Resource | None]
"""(wanted, live): who answers to whom; at most one side is None."""


class ResourceKind(ABC):
    """One kind of object on the server. Subclasses say how it is compared, read and written.

    Everything here is pure: requests are yielded, never sent.
    """

    name: str
    """Singular, as in `Item.kind`."""
    rank: int
    """Kinds of lower rank are written first."""
    parent: str = ""
    """The kind of object that this one lives in; empty for roots."""
    depth: int
    """How many parts its key has."""

    @abstractmethod
    def rules(self, dialect: Dialect) -> Mapping[str, Rule]:
        """The fields that this server knows, and how each behaves."""

    def pair(self, wanted: Sequence[Resource], live: Sequence[Resource]) -> list[Pair]:
        """Matches the wanted children of a parent with its live ones: by key."""
        return match(wanted, live, lambda want, have: want.key == have.key)

    def annotate(self, change: Change, dialect: Dialect) -> Change:  # noqa: ARG002
        """Adds to a change what the user should know about it."""
        return change

    def read(self, wanted: Sequence[Resource], dialect: Dialect) -> ApiCall[list[Resource]]:  # noqa: ARG002
        """Reads the live objects that answer to roots, children included; only keys matter.

        A kind that lives in another is read with that one.
        """
        yield from ()
        return []

    def inline(self, change: Change, dialect: Dialect) -> frozenset[str]:  # noqa: ARG002
        """The kinds of children that are written by the same request as the object itself."""
        return frozenset()

    @abstractmethod
    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:
        """Carries out a change of this object (not of its children); gives the object's id.

        `parent` is the id of the object around it, "" for roots.
        """


def match(
    wanted: Sequence[Resource],
    live: Sequence[Resource],
    *tests: Callable[[Resource, Resource], bool],
) -> list[Pair]:
    """Pairs in the order of `wanted`, then the live ones that are left over.

    The tests are tried one after the other: what the first one pairs is out of reach of the next.
    """
    partners: dict[int, Resource] = {}
    free = list(live)
    for test in tests:
        for index, want in enumerate(wanted):
            if index in partners:
                continue
            found = next((have for have in free if test(want, have)), None)
            if found is not None:
                partners[index] = found
                free.remove(found)
    pairs: list[Pair] = [(want, partners.get(index)) for index, want in enumerate(wanted)]
    return pairs + [(None, have) for have in free]


def same_text(want: Json, have: Json) -> bool:
    """Equality for descriptions: the server keeps no difference between "" and none."""
    return (want or None) == (have or None)


def same_mapping(want: Json, have: Json) -> bool:
    """Equality for mappings: none is as good as an empty one."""
    return (want or {}) == (have or {})
