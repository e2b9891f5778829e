"""The members of Enum classes, from their text."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from deployctl.flows.names import ModuleNames, NotStatic

_ENUM_TYPES: dict[tuple[str, ...], type | None] = {
    ("enum.Enum",): None,
    ("enum.IntEnum",): int,
    ("enum.StrEnum",): str,
    ("builtins.str", "enum.Enum"): str,
    ("builtins.int", "enum.Enum"): int,
    ("builtins.float", "enum.Enum"): float,
}
_ALLOWED_DUNDERS = {"__str__", "__repr__", "__hash__", "_missing_"}


def enum_members(
    definition: ast.ClassDef,
    names: ModuleNames,
    evaluate: Callable[[ModuleNames, ast.expr], Any],
) -> dict[str, Any]:
    """Returns the members of an Enum class and their values, in order.

    `evaluate` returns the value of an expression, given the names that it can use.

    Raises NotStatic if the class is not an Enum, or one that may compute its members.
    """
    not_static = NotStatic(f"the class '{definition.name}' is only known when the code runs")
    bases = tuple(names.qualified_name(base, definition.lineno) or "" for base in definition.bases)
    only_unique = all(
        names.qualified_name(decorator, definition.lineno) == "enum.unique"
        for decorator in definition.decorator_list
    )
    if bases not in _ENUM_TYPES or definition.keywords or not only_unique:
        raise not_static
    kind = _ENUM_TYPES[bases]
    within_class = names.within_class(definition.body)
    members: dict[str, Any] = {}
    for statement in definition.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=node) if name not in members:
                auto = _auto_value(bases, name, members, node, within_class)
                value = evaluate(within_class, node) if auto is None else auto
                is_plain = type(value) in (str, int, float, bool) if kind is None else None
                if name.startswith("_") or not (is_plain or type(value) is kind):
                    raise not_static
                members[name] = value
            case ast.FunctionDef(name=name) if name[0] != "_" or name in _ALLOWED_DUNDERS:
                continue
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                continue
            case _:
                raise not_static
    if not members:
        raise not_static
    return members


def _auto_value(
    bases: tuple[str, ...], name: str, members: dict[str, Any], node: ast.expr, names: ModuleNames
) -> str | int | None:
    """Returns the value of `auto()`; None for any other expression."""
    if (
        not isinstance(node, ast.Call)
        or names.qualified_name(node.func, node.lineno) != "enum.auto"
    ):
        return None
    if bases == ("enum.StrEnum",):
        return name.lower()
    if bases[0].startswith("enum.") and all(type(value) is int for value in members.values()):
        return max(members.values(), default=0) + 1
    raise NotStatic(f"the value of '{name}' is only known when the code runs")
