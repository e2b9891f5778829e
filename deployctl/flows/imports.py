"""The modules of a project that a flow imports, directly or not, read from their text.

Every import counts, wherever it stands, and each folder in which Python may look for it. So rather
too much is found than too little. What code reads or imports by other means is not found.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_IMPORTERS = ("import_module", "__import__")


def imported_files(
    file: Path, folders: Sequence[Path], is_there: Callable[[Path], bool]
) -> Iterator[Path]:
    """Yields a file, then each module of the project that it imports, nearest first.

    `folders` are those that Python searches besides the folder of `file`. `is_there` says whether
    a file exists, or existed. All paths are absolute.
    """
    searched = (file.parent, *folders)
    todo, seen = [file], {file}
    while todo:
        each = todo.pop(0)
        yield each
        found = [*_packages(each, is_there), *_imported(each, searched, is_there)]
        new = [other for other in dict.fromkeys(found) if other not in seen]
        seen.update(new)
        todo += new


def _packages(file: Path, is_there: Callable[[Path], bool]) -> Iterator[Path]:
    """The packages that a file is in: importing it runs them."""
    for folder in file.parents:
        if not is_there(init := folder / "__init__.py"):
            return
        yield init


def _imported(
    file: Path, folders: Sequence[Path], is_there: Callable[[Path], bool]
) -> Iterator[Path]:
    for level, name in _names(file):
        parts = [part for part in name.split(".") if part.isidentifier()]
        if not level and parts and parts[0] in sys.stdlib_module_names:
            continue
        for folder in [file.parents[level - 1]] if level else folders:
            path = folder
            if level and is_there(path / "__init__.py"):
                yield path / "__init__.py"
            for part in parts:
                path = path / part
                yield from filter(is_there, (path.with_name(f"{part}.py"), path / "__init__.py"))


def _names(file: Path) -> Iterator[tuple[int, str]]:
    """Yields the level and dotted name of everything that a file imports."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about user code
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((0, alias.name) for alias in node.names)
            case ast.ImportFrom():
                module = node.module or ""
                yield from ((node.level, f"{module}.{alias.name}") for alias in node.names)
            case ast.Call(args=[ast.Constant(value=str(name)), *_]):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
                if (called.id if isinstance(called, ast.Name) else called) in _IMPORTERS:
                    yield 0, name
