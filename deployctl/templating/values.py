"""Values that placeholders stand for: a path into one, and one that nobody can know yet."""

from __future__ import annotations

from dataclasses import dataclass

from deployctl.core.json_values import Json


@dataclass(frozen=True, slots=True)
class Unknown:
    """What a step will say once it has run; it stands in for that value in a plan."""

    step: str
    """The step's id, or the name of its function where it has none."""
    key: str

    def __str__(self) -> str:
        return "(known after build)"


ANY_KEY = "*"
"""The key of a mapping that stands for all keys which it does not have, and no placeholder names:
what will be there is known, but not what it is called."""


def contains_unknown(value: Json) -> bool:
    """Whether a rendered value, or any part of it, is still `Unknown`."""
    if isinstance(value, dict):
        return any(contains_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(contains_unknown(item) for item in value)
    return isinstance(value, Unknown)


def lookup(value: Json, path: str) -> Json:
    """What stands at `a.b[0].c`, walked as Prefect walks it: digits are indexes of lists.

    What lies below an `Unknown` is that `Unknown`. Raises LookupError where there is nothing.
    """
    for part in path.replace("[", ".").replace("]", "").split("."):
        if isinstance(value, Unknown):
            return value
        if isinstance(value, dict):
            if part not in value and ANY_KEY in value:
                part = ANY_KEY
            value = value[part] if part in value or not part.isdecimal() else value[int(part)]
        elif isinstance(value, list) and part.lstrip("-").isdecimal():
            value = value[int(part)]
        else:
            raise LookupError(path)
    return value
