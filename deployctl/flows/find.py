"""Finds the flows of a folder, from the text of its Python files. No code of the folder runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from deployctl.flows.static import Module, flow_functions

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist", "tests"})
"""Folders that hold no flows of the project, as those whose names begin with a dot, and virtual
environments."""
_MAX_FILES = 5000
"""Files that are read at most, so that a command in a home folder ends."""


def find_flows(folder: Path) -> list[str]:
    """The entrypoints of the flows that functions of the modules below a folder define, sorted.

    `path/of/file.py:function`, from the folder. Files that cannot be read or parsed have none.
    """
    found = []
    for file in islice(_python_files(folder), _MAX_FILES):
        try:
            if b"flow" in file.read_bytes():
                path = file.relative_to(folder).as_posix()
                found += [f"{path}:{name}" for name in flow_functions(Module(file))]
        except (OSError, SyntaxError, ValueError):
            continue
    return sorted(found)


def _python_files(folder: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(folder):
        here = Path(directory)
        folders[:] = [each for each in sorted(folders) if _is_searched(here / each)]
        yield from (here / each for each in sorted(files) if each.endswith(".py"))


def _is_searched(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in _SKIPPED
    return not hidden and not (folder / "pyvenv.cfg").exists()
