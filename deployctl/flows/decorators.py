"""Decorators of a project that leave a function's signature, name and docstring as they are.

Known from their text: one that returns what it is given, and one that returns a function which
`functools.wraps` makes look like the given one. Prefect sees the same signature through both.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from deployctl.flows.names import ImportedName, ModuleNames, NotStatic

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Wrapper:
    """What a decorator of the project returns."""

    names: ModuleNames
    """The module that defines the decorator, and the function that it returns."""
    is_argument: bool
    """Whether it returns what it is given, not another function."""


def wrapper_of(decorator: ast.expr, names: ModuleNames) -> Wrapper:
    """Returns what a decorator makes of a function; raises NotStatic if its text is not plain."""
    called = isinstance(decorator, ast.Call)
    function, home = _defined(
        decorator.func if isinstance(decorator, ast.Call) else decorator, names
    )
    if called and function is not None:
        # `@notify(channel="x")`: the outer function returns the decorator.
        inner = [each for each in function.body if isinstance(each, ast.FunctionDef)]
        plain = (
            len(inner) == 1
            and not inner[0].decorator_list
            and not _is_rebound(function, inner[0].name)
        )
        returned = _returned(function)
        function = inner[0] if plain and returned == {inner[0].name} else None
    if function is not None and (parameter := _only_parameter(function)):
        returned = _returned(function)
        if returned == {parameter} and not _is_rebound(function, parameter):
            return Wrapper(home, is_argument=True)
        if len(returned) == 1 and _wraps(function, returned.pop(), parameter, home):
            return Wrapper(home, is_argument=False)
    raise NotStatic(f"what '@{ast.unparse(decorator)}' returns is only known when the code runs")


def _defined(node: ast.expr, names: ModuleNames) -> tuple[Function | None, ModuleNames]:
    """Returns the function of the project that a name refers to, if it is a plain one."""
    if not isinstance(node, ast.Name):
        return None, names
    binding, home = names.binding(node.id, node.lineno), names
    if isinstance(binding, ImportedName):
        if names.imports is None:
            return None, names
        home, parts = names.imports.follow(binding.name)
        binding = home.binding(parts[0], None) if len(parts) == 1 else None
    plain = isinstance(binding, ast.FunctionDef) and not binding.decorator_list
    return (binding if plain and isinstance(binding, ast.FunctionDef) else None), home


def _only_parameter(function: Function) -> str:
    """Returns the name of the parameter of a function that has only one, without a default."""
    arguments = function.args
    others = (arguments.vararg, arguments.kwarg, *arguments.kwonlyargs, *arguments.defaults)
    given = [*arguments.posonlyargs, *arguments.args]
    return given[0].arg if len(given) == 1 and not any(others) else ""


def _own_nodes(function: Function) -> list[ast.AST]:
    """Returns the nodes of a function's body, without those of the functions in it."""
    found: list[ast.AST] = []
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        found.append(node)
        if not isinstance(node, Function | ast.Lambda | ast.ClassDef):
            todo += ast.iter_child_nodes(node)
    return found


def _returned(function: Function) -> set[str]:
    """Returns the names that a function returns; one of them is empty for any other value."""
    values = [each.value for each in _own_nodes(function) if isinstance(each, ast.Return)]
    return {each.id if isinstance(each, ast.Name) else "" for each in values} or {""}


def _is_rebound(function: Function, name: str) -> bool:
    """Whether a function assigns a name, or an attribute of it, anywhere in its body."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load):
            return True
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            return True
        if isinstance(node, ast.Name) and node.id in ("setattr", "delattr"):
            return True
    return False


def _wraps(function: Function, name: str, parameter: str, names: ModuleNames) -> bool:
    """Whether `name` is a function in another one that `functools.wraps(parameter)` decorates."""
    found = [each for each in function.body if isinstance(each, Function) and each.name == name]
    if len(found) != 1 or _is_rebound(function, name) or _is_rebound(function, parameter):
        return False
    match found[0].decorator_list:
        case [ast.Call(func=called, args=[ast.Name(id=wrapped)], keywords=[])]:
            return wrapped == parameter and _is_functools_wraps(called, names)
    return False


def _is_functools_wraps(node: ast.expr, names: ModuleNames) -> bool:
    try:
        return names.qualified_name(node, node.lineno) == "functools.wraps"
    except NotStatic:
        return False
