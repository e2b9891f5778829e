"""Suggestions for a name that is not known: "Did you mean 'x'?".

did_you_mean("kuberntes", TYPES) or f"There are: {quoted(TYPES)}."
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def closest(name: str, known: Iterable[str], cutoff: float = 0.7) -> str | None:
    """The known name most similar to `name`, other than `name` itself; None if none is similar.

    A name that differs only in case, or in `_` for `-`, comes first. `cutoff` is the least
    similarity, between 0 and 1, as `difflib.get_close_matches` measures it.
    """
    return next(iter(similar(name, known, cutoff)), None)


def similar(name: str, known: Iterable[str], cutoff: float = 0.7) -> list[str]:
    """The known names that resemble `name`, best first; see `closest`."""
    others = [item for item in known if item != name]
    plain = _plain(name)
    if same := [item for item in others if _plain(item) == plain]:
        return same
    return get_close_matches(name, others, 3, cutoff)


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A help text that suggests the most similar known name; None if none is similar."""
    found = closest(name, known)
    return None if found is None else f"Did you mean '{found}'?"


def quoted(names: Iterable[str]) -> str:
    """The names for a message, each in quotes: `'a', 'b'`."""
    return ", ".join(f"'{name}'" for name in names)


def shortened(names: Sequence[str], most: int) -> str:
    """At most so many names for a message, and how many more there are: `a, b and 7 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-")
