"""Where the code of a flow is: the forms of an entrypoint, and the file behind one.

A script is a path that ends in `.py`, a module a dotted name; both are looked for in the working
directory first, as Prefect does, then in the folder of prefect.yaml, so that a command means the
same wherever it is typed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True)
class Entrypoint:
    """`path.py:function`, `path.py:Class.method`, `package.module:function` and the like."""

    text: str
    location: str
    """The path of a script or the name of a module."""
    object: str
    is_script: bool

    @property
    def is_absolute(self) -> bool:
        """Whether it names a place that only this machine has."""
        return self.is_script and Path(self.location).is_absolute()


@dataclass(frozen=True, slots=True)
class LocatedEntrypoint:
    """An entrypoint, the folder that it is relative to, and its file there."""

    entrypoint: Entrypoint
    base: Path
    file: Path


def parse_entrypoint(text: str) -> Entrypoint:
    """Takes an entrypoint apart as Prefect does; raises ValueError with what is wrong with it."""
    if ".py:" in text:
        location, _, name = text.rpartition(":")
        if not _DOTTED.fullmatch(name):
            raise ValueError(f"'{name}' cannot be the name of a function")
        return Entrypoint(text, location, name, is_script=True)
    location, separator, name = text.rpartition(":" if ":" in text else ".")
    if text.endswith(".py") or not separator:
        raise ValueError("it does not say which function of the file is the flow")
    if not _DOTTED.fullmatch(location) or not _DOTTED.fullmatch(name):
        raise ValueError("it is neither a path that ends in '.py' nor the name of a module")
    return Entrypoint(text, location, name, is_script=False)


def locate(entrypoint: Entrypoint, bases: Sequence[Path]) -> LocatedEntrypoint | None:
    """The file of an entrypoint in the first folder that holds it; None if none does."""
    for base in bases:
        for name in _candidates(entrypoint):
            if (file := base / name).is_file():
                return LocatedEntrypoint(entrypoint, base, file)
    return None


def _candidates(entrypoint: Entrypoint) -> Sequence[str]:
    if entrypoint.is_script:
        return [entrypoint.location]
    path = entrypoint.location.replace(".", "/")
    return [f"{path}/__init__.py", f"{path}.py"]
