"""What a name at the top level of a module refers to, as far as its text decides that.

Only a name that is bound once, at the top level, has a definite meaning. That includes the body of
an `if` whose condition the text decides, and of a `try` or `with` in which nothing is likely to
fail. For a name that is bound twice, in another block, in a loop, through `global`, or possibly by
a star import, lookups raise `NotStatic`: the flow is then read by running the code.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign

_BUILTINS = frozenset(dir(builtins))
_MAY_REBIND = re.compile(r"\bglobal\b|:=")


class NotStatic(Exception):
    """The text alone does not decide it; the message names what is not static."""


@dataclass(frozen=True, slots=True)
class ImportedName:
    """An imported name, e.g. `typing.Optional`."""

    name: str
    line: int


class Imports(Protocol):
    """Follows the imports of a module to other modules of the project."""

    @property
    def file(self) -> Path:
        """The file of the module."""

    def follow(self, full: str) -> tuple[ModuleNames, list[str]]:
        """Returns the module that defines a name, and its name there with further attributes."""

    def environ(self) -> Mapping[str, str]:
        """Returns the variables that an import of the module would see."""


@dataclass(frozen=True, slots=True)
class ModuleNames:
    """The top-level names of a module. Lookups take the line at which the name is used."""

    bound: dict[str, Definition | ImportedName]
    uncertain: frozenset[str]
    starred: bool
    """Whether a star import may have bound further names."""
    tree: ast.Module
    imports: Imports | None = None
    """None: names of other modules are not followed, and the environment is unknown."""

    @classmethod
    def from_module(
        cls, module: ast.Module, source: str, imports: Imports | None = None
    ) -> ModuleNames:
        """Collects the names that are bound at the top level of a module."""
        bound: dict[str, Definition | ImportedName] = {}
        uncertain: set[str] = set()
        for statement in module.body:
            for name, binding in _bindings(statement):
                known = bound.get(name)
                if binding is None or (known is not None and not _same(known, binding)):
                    uncertain.add(name)
                else:
                    bound.setdefault(name, binding)
        if _MAY_REBIND.search(source):
            uncertain |= set(_rebound_names(module))
        starred = "*" in bound or "*" in uncertain
        return cls(bound, frozenset(uncertain), starred, module, imports)

    def within_class(self, body: Iterable[ast.stmt]) -> ModuleNames:
        """The names as seen inside a class, where names bound by its body are uncertain."""
        own = {name for statement in body for name, _ in _bindings(statement)}
        return replace(self, uncertain=self.uncertain | own)

    def is_bound(self, name: str) -> bool:
        """Whether the module binds this name, or may bind it."""
        return name in self.bound or name in self.uncertain or self.starred

    def is_never_modified(self, name: str) -> bool:
        """Whether the module only reads a list or dict: as a default, by an index or by `get`."""
        return all(
            isinstance(parent, ast.arguments)
            or isinstance(child.ctx, ast.Store)
            or (isinstance(parent, ast.Subscript) and isinstance(parent.ctx, ast.Load))
            or (isinstance(parent, ast.Attribute) and parent.attr in ("get", "items", "keys"))
            for parent in ast.walk(self.tree)
            for child in ast.iter_child_nodes(parent)
            if isinstance(child, ast.Name) and child.id == name
        )

    def is_assigned_to(self, name: str) -> bool:
        """Whether the module assigns an attribute of a name: `Settings.limit = 3`."""
        return name in _names_with_assigned_attributes(self.tree)

    def definition(self, name: str, line: int | None = None) -> Definition | None:
        """Returns the statement that defines a name; None if it is imported or a builtin.

        Raises NotStatic if that is uncertain or comes after `line`.
        """
        binding = self.binding(name, line)
        return None if isinstance(binding, ImportedName) else binding

    def qualified_name(self, node: ast.expr, line: int) -> str | None:
        """Returns the full name of what an expression refers to: `Opt` → `typing.Optional`.

        Builtins are `builtins.…`. None for a name that the module defines, and for an expression
        that is no name. Raises NotStatic if that is uncertain.
        """
        if isinstance(node, ast.Attribute):
            owner = self.qualified_name(node.value, line)
            return owner and f"{owner}.{node.attr}"
        if not isinstance(node, ast.Name):
            return None
        binding = self.binding(node.id, line)
        if isinstance(binding, ImportedName):
            return binding.name
        return f"builtins.{node.id}" if binding is None else None

    def binding(self, name: str, line: int | None) -> Definition | ImportedName | None:
        """Returns the binding of a name; None for a builtin. Raises NotStatic if uncertain."""
        if self.starred or name in self.uncertain:
            raise NotStatic(f"what '{name}' refers to depends on how the module runs")
        found = self.bound.get(name)
        if found is None and name not in _BUILTINS:
            raise NotStatic(f"the name '{name}' is not defined in the module")
        if found is not None and line is not None and _line(found) >= line:
            raise NotStatic(f"'{name}' is defined after its use")
        return found


def _line(binding: Definition | ImportedName) -> int:
    return binding.line if isinstance(binding, ImportedName) else binding.lineno


def _same(one: Definition | ImportedName, other: Definition | ImportedName) -> bool:
    """Whether both bindings are the same import."""
    return (
        isinstance(one, ImportedName) and isinstance(other, ImportedName) and one.name == other.name
    )


def _bindings(statement: ast.stmt) -> Iterator[tuple[str, Definition | ImportedName | None]]:
    """Yields the names that a top-level statement binds; None marks a conditional binding."""
    match statement:
        case ast.Import(names=names, lineno=line):
            for alias in names:
                full = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or full, ImportedName(full, line)
        case ast.ImportFrom(names=names, module=module, level=level, lineno=line):
            for alias in names:
                full = f"{'.' * level}{f'{module}.' if module else ''}{alias.name}"
                yield alias.asname or alias.name, ImportedName(full, line)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name, statement
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            if statement.value is not None:
                yield name, statement
        case ast.Expr() | ast.Pass():
            return
        case ast.If(test=test, body=body, orelse=orelse) if (truth := _truth(test)) is not None:
            for each in body if truth else orelse:
                yield from _bindings(each)
        case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody) if all(
            map(_cannot_fail, body)
        ):
            for each in (*body, *orelse, *finalbody):
                yield from _bindings(each)
            for handler in handlers:
                for name in _assigned_names(handler):
                    yield name, None
        case ast.With(items=items, body=body) if all(map(_cannot_fail, body)):
            for item in items:
                for name in _assigned_names(item):
                    yield name, None
            for each in body:
                yield from _bindings(each)
        case _:
            for name in _assigned_names(statement):
                yield name, None


def _truth(test: ast.expr) -> bool | None:
    """Returns the value of a condition that is the same in every import; None for any other."""
    match test:
        case ast.Constant(value=bool() | int() as value):
            return bool(value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            truth = _truth(operand)
            return None if truth is None else not truth
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return False
    # False when Prefect loads a flow.
    return False if ast.unparse(test) == "__name__ == '__main__'" else None


def _cannot_fail(statement: ast.stmt) -> bool:
    """Whether a statement is no import of a library that may be missing, and calls nothing."""
    match statement:
        case ast.Import(names=names):
            return all(_is_there(alias.name) for alias in names)
        case ast.ImportFrom(module=module, level=level):
            return level == 0 and _is_there(module or "")
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Pass():
            return True
        case ast.Assign(value=value) | ast.Expr(value=value):
            return isinstance(value, ast.Constant)
    return False


def _is_there(module: str) -> bool:
    package = module.partition(".")[0]
    return package in sys.stdlib_module_names or package in ("prefect", "pydantic")


def _assigned_names(root: ast.AST) -> Iterator[str]:
    """Yields the names that are bound or deleted anywhere inside a part of a module."""
    for node in ast.walk(root):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    yield alias.asname or alias.name.partition(".")[0]
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name)):
                yield name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name
            case ast.MatchMapping(rest=str(name)):
                yield name


@lru_cache(maxsize=256)
def _names_with_assigned_attributes(module: ast.Module) -> frozenset[str]:
    return frozenset(
        each.value.id
        for each in ast.walk(module)
        if isinstance(each, ast.Attribute)
        and not isinstance(each.ctx, ast.Load)
        and isinstance(each.value, ast.Name)
    )


def _rebound_names(module: ast.Module) -> Iterator[str]:
    """Yields names that `global` or an assignment expression may bind from any scope."""
    for node in ast.walk(module):
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.NamedExpr) and isinstance(node.target, ast.Name):
            yield node.target.id
