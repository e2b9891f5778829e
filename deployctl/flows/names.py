"""What a name means at the top of a module, as far as its text can tell with certainty.

Only a name that is bound once, at the top level and not under a condition, has a meaning here.
Whatever is bound twice, in an `if`, `try` or loop, through `global` or perhaps by a star import has
none, and who asks for it is told so by `NotStatic`: the flow is then read by running the code.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign

_BUILTINS = frozenset(dir(builtins))
_REBINDS = re.compile(r"\bglobal\b|:=")


class NotStatic(Exception):
    """The text alone does not say it; `str()` names what could not be understood."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A name that comes from elsewhere: `typing.Optional`."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a module. Lookups take the line at which the name is used."""

    bound: dict[str, Definition | Imported]
    uncertain: frozenset[str]
    starred: bool
    """Whether a star import may have bound anything."""

    @classmethod
    def of(cls, module: ast.Module, source: str) -> Names:
        """The names that are bound at the top level of a module."""
        bound: dict[str, Definition | Imported] = {}
        uncertain: set[str] = set()
        for statement in module.body:
            for name, binding in _bindings(statement):
                known = bound.get(name)
                if binding is None or (known is not None and not _same(known, binding)):
                    uncertain.add(name)
                else:
                    bound.setdefault(name, binding)
        if _REBINDS.search(source):
            uncertain |= set(_rebound(module))
        return cls(bound, frozenset(uncertain), "*" in bound or "*" in uncertain)

    def inside(self, body: Iterable[ast.stmt]) -> Names:
        """The names seen from a class: what its body binds means something else there."""
        own = {name for statement in body for name, _ in _bindings(statement)}
        return replace(self, uncertain=self.uncertain | own)

    def is_bound(self, name: str) -> bool:
        """Whether something in the module binds this name, or may."""
        return name in self.bound or name in self.uncertain or self.starred

    def definition(self, name: str, line: int | None = None) -> Definition | None:
        """What defines a name in this module; None if it is imported or a builtin.

        Raises NotStatic where that is not certain, or comes after `line`.
        """
        binding = self._binding(name, line)
        return None if isinstance(binding, Imported) else binding

    def qualified(self, node: ast.expr, line: int) -> str | None:
        """The full name of what an expression refers to: `Opt` → `typing.Optional`.

        Builtins are `builtins.…`; None for what is defined in this module or is no name at all.
        Raises NotStatic where that is not certain.
        """
        if isinstance(node, ast.Attribute):
            owner = self.qualified(node.value, line)
            return owner and f"{owner}.{node.attr}"
        if not isinstance(node, ast.Name):
            return None
        binding = self._binding(node.id, line)
        if isinstance(binding, Imported):
            return binding.name
        return f"builtins.{node.id}" if binding is None else None

    def _binding(self, name: str, line: int | None) -> Definition | Imported | None:
        """None for a builtin."""
        if self.starred or name in self.uncertain:
            raise NotStatic(f"what '{name}' is depends on how the module runs")
        found = self.bound.get(name)
        if found is None and name not in _BUILTINS:
            raise NotStatic(f"the name '{name}' is not defined in the module")
        if found is not None and line is not None and _line(found) >= line:
            raise NotStatic(f"'{name}' is defined after its use")
        return found


def _line(binding: Definition | Imported) -> int:
    return binding.line if isinstance(binding, Imported) else binding.lineno


def _same(one: Definition | Imported, other: Definition | Imported) -> bool:
    """Whether a name that is bound twice is bound to the same import."""
    return isinstance(one, Imported) and isinstance(other, Imported) and one.name == other.name


def _bindings(statement: ast.stmt) -> Iterator[tuple[str, Definition | Imported | None]]:
    """The names that a top-level statement binds; without a binding where it may or may not."""
    match statement:
        case ast.Import(names=names, lineno=line):
            for alias in names:
                full = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or full, Imported(full, line)
        case ast.ImportFrom(names=names, module=module, level=level, lineno=line):
            for alias in names:
                full = f"{'.' * level}{module or ''}.{alias.name}"
                yield alias.asname or alias.name, Imported(full, line)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name, statement
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            if statement.value is not None:
                yield name, statement
        case ast.Expr() | ast.Pass():
            return
        case ast.If() if _is_main_guard(statement):
            return
        case _:
            for name in _stored(statement):
                yield name, None


def _is_main_guard(statement: ast.If) -> bool:
    """`if __name__ == "__main__":`, which is never true when Prefect loads a flow."""
    return not statement.orelse and ast.unparse(statement.test) == "__name__ == '__main__'"


def _stored(statement: ast.stmt) -> Iterator[str]:
    """Every name that anything inside a statement binds or deletes."""
    for node in ast.walk(statement):
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


def _rebound(module: ast.Module) -> Iterator[str]:
    """Names that `global` or an assignment expression may bind from anywhere."""
    for node in ast.walk(module):
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.NamedExpr) and isinstance(node.target, ast.Name):
            yield node.target.id
