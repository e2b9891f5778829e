"""What a kind of resource must define, so that plan, apply and prune are written once for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from deployctl.api.calls import ApiCall, Request
from deployctl.api.dialect import Dialect
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, Key, Resource
from deployctl.project.resources import fields_of
from deployctl.project.shapes import ABSENT, Field

Pair: TypeAlias = tuple[Resource | None, Resource | None]
"""(desired, current): the two sides of one resource; at most one of them is None."""


class ResourceKind(ABC):
    """One kind of resource: how its resources are keyed, paired, read and written.

    Its fields are those of `project.resources`. Everything here is pure: requests are yielded,
    never sent.
    """

    name: str
    """Singular, as in `Resource.kind`."""
    rank: int
    """Kinds of lower rank are written first; no two kinds have the same."""
    parent: str = ""
    """The kind of resource that this one is part of; empty for roots."""
    depth: int
    """How many parts its key has."""
    stays: bool = False
    """Whether a child that is no longer declared stays on the server."""
    hides_values: bool = False
    """Whether the values of its resources are in `Resource.raw`, and fields only stand for them."""

    def pair(self, desired: Sequence[Resource], current: Sequence[Resource]) -> list[Pair]:
        """Matches the desired children of a parent with its current ones: by key."""
        return match(desired, current, lambda one, other: one.key == other.key)

    def annotate(self, change: Change, dialect: Dialect) -> Change:  # noqa: ARG002
        """Adds notes about side effects of a change."""
        return change

    def read(self, desired: Sequence[Resource], dialect: Dialect) -> ApiCall[list[Resource]]:  # noqa: ARG002
        """Reads the current roots with the keys of the desired ones, children included.

        Kinds that are part of another are read with their parent.
        """
        yield from ()
        return []

    def inline(self, change: Change, dialect: Dialect) -> frozenset[str]:  # noqa: ARG002
        """The kinds of children that are written by the same request as the resource itself."""
        return frozenset()

    @abstractmethod
    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:
        """Applies a change to this resource (not to its children) and returns its id.

        `parent` is the id of the resource that it is part of, "" for roots.
        """


def current_fields(kind: str, answer: Mapping[str, Json], dialect: Dialect) -> dict[str, Json]:
    """The managed fields of a resource as the server returned it, by their names in Prefect 3."""
    return {
        name: answer.get(dialect.name_of(field))
        for name, field in fields_of(kind).items()
        if field.managed and not field.write_only
    }


def current_resource(kind: str, key: Key, answer: Json, dialect: Dialect) -> Resource:
    """A resource without children as the server returned it."""
    fields = current_fields(kind, answer, dialect)
    return Resource(kind, key, fields, id=answer["id"], raw=answer)


def body(change: Change) -> dict[str, Json]:
    """What a create or an update sends: the declared fields, and those that are reset."""
    assert change.desired is not None
    return {**change.desired.fields, **{part.field: part.new for part in change.fields}}


def delete(change: Change, path: Callable[[str], str]) -> ApiCall[str]:
    """Deletes the current resource at the path of its id; one that is gone already is no error."""
    assert change.current is not None
    yield [Request("DELETE", path(change.current.id), subject=change.title, missing_ok=True)]
    return change.current.id


def default_of(field: Field, dialect: Dialect) -> Json:
    """What a create on this server gives a field that isn't sent."""
    in_2 = field.default_in_2 if dialect.major < 3 else ABSENT
    return field.default if in_2 is ABSENT else in_2


def match(
    desired: Sequence[Resource],
    current: Sequence[Resource],
    *tests: Callable[[Resource, Resource], bool],
) -> list[Pair]:
    """Pairs in the order of `desired`, then the current resources that are left over.

    The tests are tried in order: what the first one pairs is not considered by the next.
    """
    partners: dict[int, Resource] = {}
    free = list(current)
    for test in tests:
        for index, resource in enumerate(desired):
            if index in partners:
                continue
            found = next((other for other in free if test(resource, other)), None)
            if found is not None:
                partners[index] = found
                free.remove(found)
    pairs: list[Pair] = [(each, partners.get(index)) for index, each in enumerate(desired)]
    return pairs + [(None, each) for each in free]
