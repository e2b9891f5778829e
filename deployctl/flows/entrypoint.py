"""Entrypoints: their forms, and the file that one refers to.

A script is a path that ends in `.py`, a module is a dotted name. Both are searched in the working
directory first, as in Prefect, then in the folder of prefect.yaml and in the root of the
repository, so that a command does the same in every directory. Modules may also lie in the folder
`src` of one of these.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True)
class Entrypoint:
    """`path.py:function`, `path.py:Class.method`, `package.module:function` and similar forms."""

    text: str
    location: str
    """The path of a script or the name of a module."""
    object: str
    is_script: bool

    @property
    def is_absolute(self) -> bool:
        """Whether it is a path that may exist on this machine only."""
        return self.is_script and Path(self.location).is_absolute()


@dataclass(frozen=True, slots=True)
class LocatedEntrypoint:
    """An entrypoint, the folder that it is relative to, and its file."""

    entrypoint: Entrypoint
    base: Path
    file: Path | None
    """None for a module that is not among the project's files, but may be installed."""


@dataclass(frozen=True, slots=True)
class SearchPath:
    """The folders in which entrypoints and the modules that they import are searched."""

    bases: tuple[Path, ...]
    """Folders that entrypoints may be relative to, in order."""

    @classmethod
    def of(cls, directory: Path, folder: Path) -> Self:
        """Returns the search path for a working directory and the folder of prefect.yaml."""
        parents = (folder, *folder.parents)
        root = next((each for each in parents if (each / ".git").exists()), folder)
        return cls(tuple(dict.fromkeys((directory, folder, root))))

    @property
    def module_folders(self) -> tuple[Path, ...]:
        """Folders that hold modules, besides the folder of a script itself."""
        return (*self.bases, *(base / "src" for base in self.bases))


def parse_entrypoint(text: str) -> Entrypoint:
    """Parses an entrypoint as Prefect does. Raises ValueError, which says what is wrong."""
    if ".py:" in text:
        location, _, name = text.rpartition(":")
        if not _DOTTED.fullmatch(name):
            raise ValueError(f"'{name}' is not a valid function name")
        return Entrypoint(text, location, name, is_script=True)
    location, separator, name = text.rpartition(":" if ":" in text else ".")
    if text.endswith(".py") or not separator:
        raise ValueError("it does not name the flow function")
    if not _DOTTED.fullmatch(location) or not _DOTTED.fullmatch(name):
        raise ValueError("it is neither a path that ends in '.py' nor a module name")
    return Entrypoint(text, location, name, is_script=False)


def locate(entrypoint: Entrypoint, bases: Sequence[Path]) -> LocatedEntrypoint | None:
    """Finds the file of an entrypoint in the first folder that has it; None if none does."""
    for base in bases:
        for name in _candidates(entrypoint):
            if (file := base / name).is_file():
                return LocatedEntrypoint(entrypoint, base, file)
    return None


def _candidates(entrypoint: Entrypoint) -> Sequence[str]:
    if entrypoint.is_script:
        return [entrypoint.location]
    path = entrypoint.location.replace(".", "/")
    folders = ("", "src/")
    return [f"{each}{path}{end}" for each in folders for end in ("/__init__.py", ".py")]
