"""The forms of values in the file.

`keys` declares keys with them, `coerce` reads values by them, and `schema` translates them to JSON
Schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TypeAlias

from deployctl.api.dialect import ALWAYS, ApiField, Range, Version
from deployctl.core.json_values import Json, JsonPath
from deployctl.project.comparisons import Comparison, equal


@dataclass(frozen=True, slots=True)
class Text:
    """Text; other scalars become their source text."""

    choices: tuple[str, ...] = ()
    forbidden: str = ""
    """Characters that the server rejects."""
    as_python: bool = False
    """Whether other values become `str(value)` instead: `True` for `yes`."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean, or a word or number that Prefect reads as one."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number, or its text."""

    whole: bool = True
    minimum: float = -inf
    maximum: float = inf


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration, which becomes seconds: a number of seconds, ISO 8601, or `HH:MM:SS`."""

    minimum: float = 0
    positive: bool = False
    """Whether it must be greater than `minimum`, not equal to it."""


@dataclass(frozen=True, slots=True)
class Mapping_:  # noqa: N801 - the plain name is the type's
    """A mapping of anything."""


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value; it is not checked."""


@dataclass(frozen=True, slots=True)
class Steps:
    """`build`, `push` or `pull`: a list of steps, or one step. The package `steps` parses them."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list."""

    item: Shape
    single: bool = False
    """Whether one text may stand for a list of one."""
    single_refused: bool = False
    """Whether Prefect rejects that."""
    unique: bool = False
    named: bool = False
    """Whether a mapping from names to items may stand for the list."""


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping from names to items."""

    item: Table
    partial: bool = False
    """Whether an item may have any of its keys; they are checked where they are merged into."""


@dataclass(frozen=True, slots=True)
class MovedKey:
    """What to write instead of a key that a table does not have."""

    advice: str
    to: JsonPath = ()
    """Where its value belongs, from the mapping that holds the key, if its value stays the same.
    The index 0 means the only item."""
    existing: bool | None = None
    """Whether the container that `to` begins with must be there already, or must not be."""


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping with known keys."""

    name: str
    """What messages call it."""
    keys: Mapping[str, Key]
    moved: Mapping[str, MovedKey] = field(default_factory=dict)
    """Keys that are often expected here, and what to write instead."""
    saved: frozenset[str] = frozenset()
    """Keys that older versions of Prefect wrote into files and newer ones reject."""
    free: bool = False
    """Whether `definitions` and `x-…` may stand here, for anchors."""
    text_is: str = ""
    """The key that text in place of the table stands for."""
    fields: tuple[Field, ...] = ()
    """Fields of the API that belong to the resource and that no key sets."""
    strict: bool = False
    """Whether an unknown key is an error, because the rest means something else without it."""


@dataclass(frozen=True, slots=True)
class Either:
    """One of several forms, by whether the value is a mapping, a list, or neither."""

    plain: Shape | None = None
    mapping: Shape | None = None
    many: Shape | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several tables; `select` returns the name of the table of a mapping."""

    tables: Callable[[], Mapping[str, Table]]
    select: Callable[[Mapping[str, Json]], str]


Shape: TypeAlias = (
    "Text | Flag | Number | Duration | Mapping_ | Anything | Steps | ListOf | MapOf | Table"
    " | Either | Choice"
)


class _Absent:
    """Type of `ABSENT`: as if the key were not in the file."""


ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class Field(ApiField):
    """A field of a resource: which servers have it, and how plan and apply treat it."""

    same: Comparison = equal
    """Whether a desired and a current value mean the same."""
    default: Json = None
    """What a create gives the field, and what it goes back to when the file omits it again."""
    default_in_2: Json = ABSENT
    """The same for Prefect 2, if it differs there."""
    clears: Range = ALWAYS
    """Versions whose API can empty the field of an existing object."""
    managed: bool = True
    """Whether plans compare it. The others travel with the object or are written in other ways."""
    write_only: bool = False
    """Whether the server doesn't return what was sent."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table: all that reader, editor schema, docs, plan and apply know about it."""

    shape: Shape
    doc: str
    field: Field | None = None
    """The field of the API that it sets, alone or together with other keys of the same field."""
    since: Version | None = None
    """The first server with which the key has an effect, if that isn't the first with its field."""
    default: Json = ABSENT
    """What is sent if the key is absent, for a part of a field that is always sent whole."""
    null: Json = ABSENT
    """The meaning of null."""
    null_refused: bool = False
    """Whether Prefect rejects null here."""
    required: bool = False
