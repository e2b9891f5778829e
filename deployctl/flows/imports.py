"""The modules of a project that a flow imports, directly or not, read from their text.

Every import counts, wherever it stands, and each folder in which Python may look for it. So rather
too much is found than too little. What code reads or imports by other means is not found.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_IMPORTERS = ("import_module", "__import__")


@dataclass(frozen=True, slots=True)
class ModuleFile:
    """The file of a module of the project."""

    path: Path
    is_parsed: bool
    """Whether it is known what it imports: it is there, and in syntax that our own Python reads."""


def imported_files(
    file: Path, folders: Sequence[Path], is_there: Callable[[Path], bool]
) -> Iterator[ModuleFile]:
    """Yields a file, then each module of the project that it imports, nearest first.

    `folders` are those that Python searches besides the folder of `file`. `is_there` says whether
    a file exists, or existed. All paths are absolute.
    """
    searched = (file.parent, *folders)
    todo, seen = [file], {file}
    while todo:
        each = todo.pop(0)
        names = _imports(each)
        yield ModuleFile(each, names is not None)
        found = [*_packages(each, is_there), *_imported(each, names or (), searched, is_there)]
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
    file: Path,
    names: Iterable[tuple[int, str]],
    folders: Sequence[Path],
    is_there: Callable[[Path], bool],
) -> Iterator[Path]:
    for level, name in names:
        parts = [part for part in name.split(".") if part.isidentifier()]
        for folder in file.parents[level - 1 : level] if level else folders:
            path = folder
            if level and is_there(path / "__init__.py"):
                yield path / "__init__.py"
            for part in parts:
                path = path / part
                yield from filter(is_there, (path.with_name(f"{part}.py"), path / "__init__.py"))


def _imports(file: Path) -> tuple[tuple[int, str], ...] | None:
    """Level and dotted name of everything that a module imports; None if it cannot be parsed."""
    try:
        stat = file.stat()
        return _read_imports(file, stat.st_mtime_ns, stat.st_size)
    except (OSError, SyntaxError, ValueError):
        return None


@cache
def _read_imports(file: Path, _modified: int, _size: int) -> tuple[tuple[int, str], ...]:
    """Cached, because the flows of a project share most of its modules."""
    with warnings.catch_warnings(action="ignore"):  # about user code
        return tuple(_names(ast.parse(file.read_bytes())))


def _names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields the level and dotted name of everything that a module imports."""
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
