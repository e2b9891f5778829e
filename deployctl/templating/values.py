"""Values of placeholders: paths into them, and values that are known only after the build."""

from __future__ import annotations

from dataclasses import dataclass

from deployctl.core.json_values import Json


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
    """The value at a path such as `a.b[0].c`, resolved as in Prefect: digits are indexes of lists.

    Anything below an `Unknown` is that `Unknown`. Raises LookupError if there is no value.
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
