"""Values of placeholders: paths into them, and values that are known only after the build."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployctl.core.json_values import Json

_INTEGER = re.compile(r"-?[0-9]+")


@dataclass(frozen=True, slots=True)
class Unknown:
    """The output of a step that has not run yet, in place of its value in a plan."""

    step: str
    """The step's id, or the name of its function where it has none."""
    key: str

    def __str__(self) -> str:
        return "(known after build)"


ANY_KEY = "*"
"""Key of a mapping whose value stands for every key that the mapping does not have: a step will
have outputs, but their names are not known. No placeholder can name it."""


def contains_unknown(value: Json) -> bool:
    """Whether a rendered value, or any part of it, is still `Unknown`."""
    if isinstance(value, dict):
        return any(contains_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(contains_unknown(item) for item in value)
    return isinstance(value, Unknown)


def lookup(value: Json, path: str) -> Json:
    """The value at a path such as `a.b[0].c`, resolved as in Prefect 3.9.

    In a list, a number is an index. In a mapping, it is a key: as text or else as an integer, so
    that `years.2026` finds `{"2026": 1}` and `{2026: 1}`. Prefect up to 3.8 takes it as an integer
    only. Anything below an `Unknown` is that `Unknown`. Raises LookupError if there is no value.
    """
    for part in path.replace("[", ".").replace("]", "").split("."):
        if isinstance(value, Unknown):
            return value
        if isinstance(value, dict):
            value = value[_key_in(value, part)]
        elif isinstance(value, list) and _INTEGER.fullmatch(part):
            value = value[int(part)]
        else:
            raise LookupError(path)
    return value


def _key_in(mapping: Mapping[Any, Json], part: str) -> Any:
    """The key that a part of a path names; a step of Python may return integers as keys."""
    if part in mapping:
        return part
    if ANY_KEY in mapping:
        return ANY_KEY
    return int(part) if _INTEGER.fullmatch(part) and str(int(part)) == part else part
