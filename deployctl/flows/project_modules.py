"""The modules of a project, as far as flows take constants and types from them.

Folders are searched as an import does: beside the script, in the working directory, then in the
other folders of the project. A module of the standard library is never one of the project's.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployctl.flows.names import ImportedName, ModuleNames, NotStatic

_CHANGES_ENVIRONMENT = re.compile(
    r"dotenv|environ\s*\[[^\]]*\]\s*=[^=]|environ\.(?:update|setdefault|pop|clear)|\bputenv\b"
    r"|\bdel\s+os\.environ|monkeypatch"
)
_MAX_DEPTH = 12
"""Imports that are followed to find one name: a circle of imports ends there."""


class ProjectModules:
    """Finds and parses modules of a project, each once."""

    def __init__(self, folders: Sequence[Path], environ: Mapping[str, str]) -> None:
        self._folders = tuple(folders)
        self._environ = environ
        self._names: dict[Path, ModuleNames | None] = {}

    def names_of(self, tree: ast.Module, source: str, file: Path) -> ModuleNames:
        """Returns the names of a module that is parsed already, from which imports are followed."""
        names = ModuleNames.from_module(tree, source, ImportFollower(self, file))
        self._names[file] = names
        return names

    def environ(self, file: Path) -> Mapping[str, str]:
        """Returns the environment; raises NotStatic if this module or one it imports changes it."""
        todo, seen = [file], {file}
        while todo:
            each = todo.pop()
            if _CHANGES_ENVIRONMENT.search(each.read_text(encoding="utf-8", errors="replace")):
                raise NotStatic(f"'{each.name}' may change the environment")
            imported = self._imported_files(each) - seen
            todo += imported
            seen |= imported
        return self._environ

    def _imported_files(self, file: Path) -> set[Path]:
        """Returns the modules of the project that a module imports at its top level."""
        names = self._names[file]
        found = set()
        for binding in names.bound.values() if names else ():
            if isinstance(binding, ImportedName):
                module = self.find(binding.name, file)
                if module is not None and module[0].imports is not None:
                    found.add(module[0].imports.file)
        return found

    def find(self, full: str, importer: Path) -> tuple[ModuleNames, list[str]] | None:
        """Returns the module that a dotted name begins with, and the rest of the name.

        None if that is no module of the project. Raises NotStatic if the module can't be parsed.
        """
        level = len(full) - len(full.lstrip("."))
        parts = full[level:].split(".")
        if level:
            folders = [importer.parents[level - 1]]
        elif parts[0] in sys.stdlib_module_names or parts[0] in ("prefect", "pydantic"):
            return None
        else:
            folders = [importer.parent, *self._folders]
        for folder in folders:
            if level and parts[0] == "":
                parts = parts[1:]
            if (found := self._descend(folder, parts)) is not None:
                return found
        return None

    def _descend(self, folder: Path, parts: list[str]) -> tuple[ModuleNames, list[str]] | None:
        """Follows packages to the longest part of a name that is a module."""
        names: ModuleNames | None = None
        for position, part in enumerate(parts):
            if names is not None and names.is_bound(part):
                return names, parts[position:]
            file = folder / f"{part}.py"
            folder = folder / part
            if (folder / "__init__.py").is_file():
                names = self._parse(folder / "__init__.py")
            elif file.is_file():
                return self._parse(file), parts[position + 1 :]
            elif not folder.is_dir():
                return None if names is None else (names, parts[position:])
        return None if names is None else (names, [])

    def _parse(self, file: Path) -> ModuleNames:
        if file not in self._names:
            self._names[file] = None
            try:
                source = file.read_text(encoding="utf-8")
                with warnings.catch_warnings(action="ignore"):
                    self._names[file] = self.names_of(ast.parse(source), source, file)
            except (OSError, ValueError, SyntaxError):
                pass
        if (names := self._names[file]) is None:
            raise NotStatic(f"the module '{file.name}' cannot be read")
        return names


@dataclass(frozen=True, slots=True)
class ImportFollower:
    """Follows the imports of one module."""

    modules: ProjectModules
    file: Path

    def follow(self, full: str) -> tuple[ModuleNames, list[str]]:
        """Returns the module that defines a name, and its name there with further attributes.

        Raises NotStatic if it is not defined in the project, or not certain.
        """
        importer = self.file
        for _ in range(_MAX_DEPTH):
            found = self.modules.find(full, importer)
            if found is None or not found[1]:
                break
            names, parts = found
            binding = names.binding(parts[0], sys.maxsize)
            if binding is None or names.imports is None:
                break
            if not isinstance(binding, ImportedName):
                return names, parts
            full, importer = ".".join([binding.name, *parts[1:]]), names.imports.file
        raise NotStatic(f"what '{full}' is, is only known when the code runs")

    def environ(self) -> Mapping[str, str]:
        """Returns the variables that an import of the module would see."""
        return self.modules.environ(self.file)
