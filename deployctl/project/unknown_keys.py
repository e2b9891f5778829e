"""Finds out what is meant by a key that its table does not have: the help, and the fix.

There is a fix where only one key can be meant, which is free and takes the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from deployctl.core.fix import Fix, MoveKey
from deployctl.core.json_values import Json, JsonPath
from deployctl.core.suggest import did_you_mean, similar
from deployctl.project import keys
from deployctl.project.moved_keys import in_schedule
from deployctl.project.shapes import MovedKey, Shape, Table

Finding: TypeAlias = tuple[str, str, str, Fix | None]
"""Code, message, help and fix."""

_ALL_KEYS = "Remove it. `deployctl schema` lists all keys."
_OTHER_TABLES: Mapping[str, Table] = {
    "under 'work_pool'": keys.WORK_POOL,
    "in a schedule": keys.SCHEDULE,
    "in a deployment": keys.DEPLOYMENT,
    "at the top of the file": keys.TOP_LEVEL,
}


@dataclass(frozen=True, slots=True)
class KeyFinder:
    """Finds what is meant by the key that `path` ends in."""

    value: Mapping[str, Json]
    """The mapping that holds the key."""
    table: Table
    path: JsonPath
    in_deployment: bool
    """Whether the mapping is below a deployment, whose path is ()."""
    fits: Callable[[Json, Shape], bool]
    """Whether a value has a shape."""

    def problem(self) -> Finding:
        """What is wrong with the key, and what to do about it."""
        name = str(self.path[-1])
        if (moved := self.table.moved.get(name)) is not None:
            help_ = f"{moved.advice[0].upper()}{moved.advice[1:]}."
            return "DC121", "is not supported here", help_, self._move(moved)
        message = f"is not a key of this {self.table.name}"
        message += "" if self.table.strict else " and is ignored"
        if guess := did_you_mean(name, self.table.keys):
            return "DC120", message, guess, self._rename(similar(name, self.table.keys))
        return "DC120", message, *self._elsewhere(name)

    def _rename(self, names: list[str]) -> Fix | None:
        """The fix that renames the key, if exactly one of the names is free and takes the value."""
        fitting = [each for each in names if self._is_free(each)]
        return MoveKey(self.path, (*self.path[:-1], *fitting)) if len(fitting) == 1 else None

    def _is_free(self, name: str) -> bool:
        key = self.table.keys.get(name)
        value = self.value[str(self.path[-1])]
        return key is not None and name not in self.value and self.fits(value, key.shape)

    def _move(self, moved: MovedKey) -> Fix | None:
        """The fix that moves the key, if that is to one place."""
        to = moved.to
        if len(to) < 2:
            return self._rename([str(part) for part in to])
        if to[0] == "schedules" and "schedule" in self.value:
            to = ("schedule", *to[2:])
        exists = bool(self.value.get(str(to[0])))
        if moved.existing not in (None, exists):
            return None
        return MoveKey(self.path, (*self.path[:-1], *to))

    def _elsewhere(self, name: str) -> tuple[str, Fix | None]:
        """Help for a key that another table has, and the fix that moves it there."""
        for place, other in _OTHER_TABLES.items():
            if name in other.keys:
                fix: Fix | None = None
                if other is keys.DEPLOYMENT and self.in_deployment:
                    fix = MoveKey(self.path, (name,))
                elif other is keys.SCHEDULE and self.table is keys.DEPLOYMENT:
                    fix = self._move(in_schedule(name))
                return f"It is a key {place}.", fix
        return _ALL_KEYS, None
