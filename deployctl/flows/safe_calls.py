"""The functions and methods that are called to evaluate constant expressions.

All are pure functions of the standard library, so that none has to be imitated. They are called
with plain values only: strings, numbers, dates, paths, and collections of these.
"""

from __future__ import annotations

import math
import operator
import os.path
import posixpath
from ast import Add, Div, FloorDiv, Mod, Mult, Pow, Sub
from ast import operator as Operator  # noqa: N812
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class SecretValue:
    """A `SecretStr`, without its value."""

    is_empty: bool


@dataclass(frozen=True, slots=True)
class EnumMember:
    """A member of an Enum."""

    name: str
    value: Any


def _absolute(function: Callable[[str], str], path: str) -> str:
    """Calls a function for an absolute path: a relative one depends on the working directory."""
    if not path.startswith("/"):
        raise ValueError
    return function(path)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "builtins.abs": abs,
    "builtins.bool": bool,
    "builtins.dict": dict,
    "builtins.float": float,
    "builtins.frozenset": frozenset,
    "builtins.int": int,
    "builtins.len": len,
    "builtins.list": list,
    "builtins.max": max,
    "builtins.min": min,
    "builtins.round": round,
    "builtins.set": set,
    "builtins.sorted": sorted,
    "builtins.str": str,
    "builtins.sum": sum,
    "builtins.tuple": tuple,
    "datetime.date": date,
    "datetime.datetime": datetime,
    "datetime.time": time,
    "datetime.timedelta": timedelta,
    "datetime.timezone": timezone,
    "decimal.Decimal": Decimal,
    "os.path.basename": posixpath.basename,
    "os.path.dirname": posixpath.dirname,
    "os.path.join": posixpath.join,
    "os.path.abspath": lambda path: _absolute(os.path.abspath, path),
    "os.path.realpath": lambda path: _absolute(os.path.realpath, path),
    "pathlib.Path": PurePosixPath,
    "pathlib.PurePath": PurePosixPath,
    "pydantic.SecretStr": lambda text: SecretValue(not text),
    "uuid.UUID": UUID,
}
VALUES: dict[str, Any] = {
    "datetime.timezone.utc": UTC,
    "datetime.UTC": UTC,
    "math.inf": math.inf,
    "math.nan": math.nan,
    "math.pi": math.pi,
}
OPERATORS: dict[type[Operator], Callable[[Any, Any], Any]] = {
    Add: operator.add,
    Sub: operator.sub,
    Mult: operator.mul,
    Div: operator.truediv,
    FloorDiv: operator.floordiv,
    Mod: operator.mod,
    Pow: operator.pow,
}
_STRING_METHODS = {
    *("capitalize", "casefold", "endswith", "format", "join", "lower", "lstrip", "removeprefix"),
    *("removesuffix", "replace", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip"),
    *("title", "upper", "zfill"),
}
_PATH_METHODS = {"as_posix", "joinpath", "with_name", "with_stem", "with_suffix"}
_PATH_ATTRIBUTES = {"name", "parent", "parents", "parts", "stem", "suffix"}
_NUMBERS = (int, float, timedelta)
_IMMUTABLE = (
    *(str, int, float, bytes, date, time, timedelta, timezone, Decimal, UUID, PurePosixPath),
    *(SecretValue, EnumMember, type(None), type(...)),
)
_MAX_LENGTH = 10_000
"""Of a string that is repeated, and bits of a power."""


def is_immutable(value: Any) -> bool:
    """Whether a value cannot be modified in place."""
    if isinstance(value, tuple | frozenset):
        return all(map(is_immutable, value))
    return isinstance(value, _IMMUTABLE)


def is_plain(value: Any) -> bool:
    """Whether Python's own functions give for a value what they would give at run time."""
    if isinstance(value, dict):
        return all(map(is_plain, value.keys())) and all(map(is_plain, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_plain, value))
    return not isinstance(value, EnumMember | SecretValue)


def operate(kind: type[Operator], left: Any, right: Any) -> Any:
    """Returns the result of a binary operator; raises TypeError for operands that are not safe."""
    if not (is_plain(left) and is_plain(right)):
        raise TypeError
    if kind is Div and isinstance(left, PurePosixPath):
        return left / right
    numbers = type(left) in _NUMBERS and type(right) in _NUMBERS
    if kind is Pow and not (numbers and abs(right) * max(abs(left), 2).bit_length() < _MAX_LENGTH):
        raise TypeError
    is_text = isinstance(left, str) and kind in (Add, Mod)
    is_list = isinstance(left, list | tuple) and kind is Add
    if not (numbers or is_text or is_list):
        raise TypeError
    return OPERATORS[kind](left, right)


def attribute(value: Any, name: str) -> Any:
    """Returns an attribute of a constant; raises AttributeError for any but a few."""
    if isinstance(value, EnumMember) and name in ("name", "value"):
        return getattr(value, name)
    if isinstance(value, PurePosixPath) and name in _PATH_ATTRIBUTES:
        return getattr(value, name)
    raise AttributeError(name)


def call_method(value: Any, name: str, args: list[Any], named: dict[str, Any]) -> Any:
    """Calls a method of a constant; raises TypeError for any but a few."""
    if not is_plain([args, named]):
        raise TypeError
    if isinstance(value, str) and name in _STRING_METHODS:
        return getattr(value, name)(*args, **named)
    if isinstance(value, PurePosixPath):
        if name in _PATH_METHODS:
            return getattr(value, name)(*args, **named)
        if name in ("resolve", "absolute") and value.is_absolute() and not args and not named:
            return PurePosixPath(getattr(Path(value), name)())
    raise TypeError
