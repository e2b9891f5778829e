"""Fixes: the changes of a file that the help of a diagnostic describes, where they are unambiguous.

A check that finds a problem knows what to do about it, and says so twice: in words, as `help`, and
as one of these values. `project.fixes` turns them into edits of the file's text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from deployctl.core.json_values import JsonPath


@dataclass(frozen=True, slots=True)
class MoveKey:
    """Moves the key at `path` to the path `to`: another name, another mapping, or both.

    Containers that are missing on the way are created. The index 0 means the only item of a list.
    """

    path: JsonPath
    to: JsonPath


@dataclass(frozen=True, slots=True)
class SetText:
    """Replaces the scalar at `path` with a quoted text."""

    path: JsonPath
    text: str


@dataclass(frozen=True, slots=True)
class Quote:
    """Quotes the number, or other scalar, at `path`: its value becomes the text that is there."""

    path: JsonPath


@dataclass(frozen=True, slots=True)
class ReplaceText:
    """Replaces a part of the text at `path` wherever it occurs in it."""

    path: JsonPath
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class WrapValue:
    """Makes the scalar at `path` the value of a key, or an item of a list if `key` is empty."""

    path: JsonPath
    key: str = ""


@dataclass(frozen=True, slots=True)
class Remove:
    """Removes the key or the item of a list at `path`."""

    path: JsonPath


@dataclass(frozen=True, slots=True)
class RemoveDuplicate:
    """Removes the key that begins at this offset; the same key stands before it with this value."""

    offset: int


@dataclass(frozen=True, slots=True)
class QuoteKey:
    """Quotes the key that begins at this offset, which YAML does not read as text."""

    offset: int


@dataclass(frozen=True, slots=True)
class QuoteAt:
    """Quotes the text that begins at this offset, which YAML cannot read or reads as something
    else."""

    offset: int


PathFix: TypeAlias = MoveKey | SetText | Quote | ReplaceText | WrapValue | Remove
Fix: TypeAlias = PathFix | RemoveDuplicate | QuoteKey | QuoteAt
_AT_PATH = (SetText, Quote, ReplaceText, WrapValue, Remove)


def fix_below(fix: Fix | None, path: JsonPath) -> Fix | None:
    """The same fix, as seen from a value that contains the checked one at `path`."""
    if isinstance(fix, MoveKey):
        return MoveKey((*path, *fix.path), (*path, *fix.to))
    if isinstance(fix, _AT_PATH):
        return replace(fix, path=(*path, *fix.path))
    return fix


def fix_above(fix: Fix | None, depth: int) -> Fix | None:
    """The same fix, as seen from the value `depth` levels down its path."""
    if isinstance(fix, MoveKey):
        return MoveKey(fix.path[depth:], fix.to[depth:])
    if isinstance(fix, _AT_PATH):
        return replace(fix, path=fix.path[depth:])
    return fix
